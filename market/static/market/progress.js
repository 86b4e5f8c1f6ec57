"use strict";
// Move the bars of backfills that go on, every few seconds, until all are over or the page is left
(() => {
    const BETWEEN = 3000;

    const moving = () => [...document.querySelectorAll("[data-backfill]")].filter((bar) => !bar.dataset.over);

    function move(bar, found) {
        bar.querySelector("progress").value = found.progress;
        bar.querySelector("span").textContent = found.words;
        bar.dataset.over = found.is_over ? "yes" : "";
    }

    async function look() {
        const bars = moving();
        if (!bars.length) return;
        if (!document.hidden) {
            const ids = bars.map((bar) => bar.dataset.backfill).join(",");
            try {
                const answer = await fetch(`${bars[0].dataset.address}?ids=${ids}`, {headers: {Accept: "application/json"}});
                const found = answer.ok ? await answer.json() : {};
                for (const bar of bars) if (found[bar.dataset.backfill]) move(bar, found[bar.dataset.backfill]);
            } catch (error) {
                // The server is away for a moment: the next look will tell
            }
        }
        setTimeout(look, BETWEEN);
    }

    document.addEventListener("DOMContentLoaded", () => setTimeout(look, BETWEEN));
})();
