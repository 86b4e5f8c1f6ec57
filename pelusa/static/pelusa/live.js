"use strict";
// Keep parts of a page as they are now: <section data-live="address" data-every="3000">, whose address answers with the
// HTML that belongs inside; data-first says when it is asked for first. Nobody is asked while the page is hidden; when a part cannot be refreshed the page says since when.
(() => {
    const EVERY = 3000, PATIENCE = 20000, LOADED = Date.now();

    function isOccupied(part) {
        const chosen = document.getSelection();
        // What is being pressed must still be there when the finger is lifted
        return part.matches(":active")
            || part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")
            || chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
    }

    function replace(part, html) {
        if (part.lastHtml === html || isOccupied(part)) return;
        const opened = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
        const held = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        part.innerHTML = part.lastHtml = html;
        for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
        if (held) part.querySelector(`[href="${CSS.escape(held)}"]`)?.focus({preventScroll: true});
        part.dispatchEvent(new CustomEvent("live:fresh", {bubbles: true}));
    }

    const stale = () => [...document.querySelectorAll("[data-live].pelusa-stale")];

    function lostLine() {
        const line = document.createElement("p");
        line.id = "pelusa-lost";
        line.className = "pelusa-lost";
        line.setAttribute("role", "status");
        document.getElementById("main").prepend(line);
        return line;
    }

    function tellWhetherLost() {
        const parts = stale(), line = document.getElementById("pelusa-lost") ?? lostLine();
        line.hidden = !parts.length;
        if (line.hidden) return;
        const since = new Date(Math.min(...parts.map((part) => part.freshAt ?? LOADED)));
        const words = document.querySelector("meta[name=pelusa-lost]").content;
        line.textContent = words.replace("{time}", since.toISOString().slice(11, 19));
    }

    function settle(part, isFresh) {
        if (isFresh) part.freshAt = Date.now();
        part.classList.toggle("pelusa-stale", !isFresh);
        tellWhetherLost();
    }

    async function refresh(part) {
        try {
            const answer = await fetch(part.dataset.live, {headers: {"X-Requested-With": "live"}, signal: AbortSignal.timeout(PATIENCE)});
            // Logged out meanwhile: the whole page leads to the login and back
            if (answer.redirected || answer.status === 403) return location.reload();
            if (answer.ok) replace(part, await answer.text());
            settle(part, answer.ok);
        } catch (error) {
            settle(part, false);
        }
    }

    async function keep(part) {
        if (!part.isConnected) return;
        if (!document.hidden) await refresh(part);
        setTimeout(keep, Number(part.dataset.every) || EVERY, part);
    }

    document.addEventListener("DOMContentLoaded", () => {
        for (const part of document.querySelectorAll("[data-live]")) {
            setTimeout(keep, Number(part.dataset.first ?? part.dataset.every ?? EVERY), part);
        }
    });
    document.addEventListener("visibilitychange", () => {
        if (!document.hidden) document.querySelectorAll("[data-live]").forEach(refresh);
    });
})();
