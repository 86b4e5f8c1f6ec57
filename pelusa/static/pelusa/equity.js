"use strict";
// An account's worth over a day, a week, a month or all there is; the words above the curve say the same
(() => {
    const {createChart, AreaSeries} = LightweightCharts;
    const COLOURS = {gain: "#16a34a", loss: "#dc2626", even: "#8b8b93"}, EVERY = 60000;
    const box = document.getElementById("equity"), words = document.getElementById("equity-words");
    const chart = createChart(document.getElementById("equity-chart"), {
        autoSize: true, handleScroll: false, handleScale: false,
        timeScale: {timeVisible: true}, rightPriceScale: {borderVisible: false},
    });
    const area = chart.addSeries(AreaSeries, {lineWidth: 2, priceLineVisible: false});
    let span = "week", asked = 0;

    function paint() {
        const isDark = document.documentElement.classList.contains("dark");
        const ink = isDark ? "#d4d4d8" : "#3f3f46", grid = isDark ? "#27272a" : "#f0f0f2";
        chart.applyOptions({
            layout: {background: {color: "transparent"}, textColor: ink, attributionLogo: true},
            grid: {vertLines: {visible: false}, horzLines: {color: grid}},
        });
    }

    function draw(told) {
        document.getElementById("equity-chart").hidden = !told.points.length;
        const colour = COLOURS[told.tone];
        area.applyOptions({lineColor: colour, topColor: `${colour}44`, bottomColor: `${colour}00`});
        area.setData(told.points.map(([time, equity]) => ({time: time / 1000, value: +equity})));
        chart.timeScale().fitContent();
        words.textContent = told.words;
        box.dataset.points = told.points.length;
    }

    async function ask() {
        // An answer that a later question has overtaken is not drawn
        const number = ++asked;
        try {
            const answer = await fetch(`${box.dataset.address}?span=${span}`, {headers: {Accept: "application/json"}});
            if (!answer.ok) throw new Error(answer.status);
            const told = await answer.json();
            if (number === asked) draw(told);
        } catch (error) {
            if (number === asked) words.textContent = box.dataset.failed;
        }
    }

    for (const button of box.querySelectorAll("[data-span]")) {
        button.addEventListener("click", () => {
            span = button.dataset.span;
            for (const each of box.querySelectorAll("[data-span]")) each.setAttribute("aria-pressed", each === button);
            ask();
        });
    }
    new MutationObserver(paint).observe(document.documentElement, {attributeFilter: ["class"]});
    setInterval(() => document.hidden || ask(), EVERY);
    paint();
    ask();
})();
