"use strict";
// Copy a message to the clipboard; where the browser allows none (no HTTPS) it is selected, to be copied by hand
(() => {
    function select(message) {
        const range = document.createRange();
        range.selectNodeContents(message);
        document.getSelection().removeAllRanges();
        document.getSelection().addRange(range);
    }

    async function copy(button) {
        const message = document.getElementById(button.dataset.copy), word = button.textContent;
        try {
            await navigator.clipboard.writeText(message.textContent);
            button.textContent = button.dataset.copied;
            setTimeout(() => { button.textContent = word; }, 2000);
        } catch (error) {
            select(message);
        }
    }

    for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
})();
