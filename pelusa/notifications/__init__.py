"""Tell people over Telegram, Discord, e-mail and webhooks what happened, each thing once."""
