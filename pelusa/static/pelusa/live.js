"use strict";
// Keep parts of a page as they are now: <section data-live="address" data-every="3000">, whose address answers with the
// HTML that belongs inside; data-first says when it is asked for first. Nobody is asked while the page is hidden; a part that could not be refreshed says so.
(() => {
    const EVERY = 3000;

    function isOccupied(part) {
        const chosen = document.getSelection();
        return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")
            || chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
    }

    function replace(part, html) {
        if (part.lastHtml === html || isOccupied(part)) return;
        const opened = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
        part.innerHTML = part.lastHtml = html;
        for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
        part.dispatchEvent(new CustomEvent("live:fresh", {bubbles: true}));
    }

    async function refresh(part) {
        try {
            const answer = await fetch(part.dataset.live, {headers: {"X-Requested-With": "live"}});
            // Logged out meanwhile: the whole page leads to the login and back
            if (answer.redirected || answer.status === 403) return location.reload();
            if (answer.ok) replace(part, await answer.text());
            part.classList.toggle("pelusa-stale", !answer.ok);
        } catch (error) {
            part.classList.add("pelusa-stale");
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
