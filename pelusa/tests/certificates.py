"""Certificates for tests: an authority, and what it issues."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# https://www.tradingview.com/support/solutions/43000680459/
NAME, EMAIL = "TradingView Webhooks", "webhook-server@tradingview.com"


@dataclass(frozen=True)
class Authority:
    """Who vouches for names, with its certificate in a file."""

    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    file: Path

    @classmethod
    def new(cls, folder: Path) -> Authority:
        """Make one that vouches for itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = cls(key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")]), folder / "ca.pem")
        certificate = authority._signed(authority.name, key, x509.BasicConstraints(ca=True, path_length=0), days=7)
        authority.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    def issue(self, *, name: str = NAME, email: str = EMAIL, days: int = 1) -> tuple[Path, Path]:
        """Return the files of a new certificate and its key; one of a negative number of days is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "TradingView, Inc."),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        san = x509.SubjectAlternativeName([x509.RFC822Name(email)] if email else [x509.DNSName("tradingview.com")])
        certificate = self._signed(who, key, san, days=days)
        paths = (self.file.with_name(f"{token_hex(4)}.pem"), self.file.with_name(f"{token_hex(4)}.key"))
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def _signed(
        self, who: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, *, days: int
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self.key, hashes.SHA256())
        )
