"""Which words of a page are too dim for their ground: WCAG's contrast, measured as Chromium draws them."""

from playwright.sync_api import Page

LEAST_CONTRAST = 4.5

# Colours come in any notation: a canvas turns each into red, green, blue and alpha. Icons are letters, and no words.
_DIM = """(least) => {
    const brush = document.createElement("canvas").getContext("2d", {willReadFrequently: true}), known = new Map();
    const paint = (colour) => {
        brush.clearRect(0, 0, 1, 1);
        brush.fillStyle = colour;
        brush.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = brush.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const rgba = (colour) => known.get(colour) ?? known.set(colour, paint(colour)).get(colour);
    const over = (top, ground) => [0, 1, 2].map((each) => top[each] * top[3] + ground[each] * (1 - top[3]));
    const light = (colour) => colour.slice(0, 3).map((value) => value / 255)
        .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, each) => sum + value * [0.2126, 0.7152, 0.0722][each], 0);
    const above = (element) => element ? [element, ...above(element.parentElement)] : [];
    const groundOf = (element) => above(element).map((each) => rgba(getComputedStyle(each).backgroundColor))
        .reverse().reduce((ground, layer) => over(layer, ground), [255, 255, 255]);
    const opacityOf = (element) => above(element).reduce((all, each) => all * getComputedStyle(each).opacity, 1);
    const contrast = (element) => {
        const ground = groundOf(element), [red, green, blue, alpha] = rgba(getComputedStyle(element).color);
        const lights = [light(over([red, green, blue, alpha * opacityOf(element)], ground)), light(ground)];
        return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    };
    const told = (element) => element.checkVisibility({visibilityProperty: true, opacityProperty: true})
        && !element.matches("script, style, option") && !element.closest("[disabled], .material-symbols-outlined, svg");
    const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = new Set();
    while (words.nextNode()) {
        const text = words.currentNode.textContent.trim(), element = words.currentNode.parentElement;
        if (!text || !told(element) || contrast(element) >= least) continue;
        found.add(`${text.slice(0, 40)} (${contrast(element).toFixed(1)})`);
    }
    return [...found];
}"""


def too_dim(page: Page) -> list[str]:
    """Return the page's words that do not stand out from their ground, each with its contrast."""
    return list(page.evaluate(_DIM, LEAST_CONTRAST))
