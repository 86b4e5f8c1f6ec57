"use strict";
// Candles of one series with what happened on them. Older candles are fetched while scrolling to the left, newer ones to
// the right; marks are asked for as far as candles are there.
(() => {
    const A_PAGE = 1000, NEAR = 80, FRESH = 5000, AROUND = 120;
    const COLOURS = {good: "#16a34a", plain: "#8b8b93", bad: "#dc2626", average: "#2563eb", stop: "#dc2626", target: "#16a34a"};
    const {createChart, createSeriesMarkers, CandlestickSeries, LineSeries, HistogramSeries, LineStyle} = LightweightCharts;
    const STYLES = {average: LineStyle.Dashed, stop: LineStyle.Solid, target: LineStyle.Solid};

    const place = JSON.parse(document.getElementById("chart-place").textContent);
    const box = document.getElementById("chart"), legend = document.getElementById("chart-legend");
    const chart = createChart(box, {autoSize: true, timeScale: {timeVisible: true, rightOffset: 8}});
    const candles = chart.addSeries(CandlestickSeries, {upColor: "#16a34a", downColor: "#dc2626", borderVisible: false, wickUpColor: "#16a34a", wickDownColor: "#dc2626"});
    const volume = chart.addSeries(HistogramSeries, {priceScaleId: "volume", priceFormat: {type: "volume"}, lastValueVisible: false, priceLineVisible: false});
    chart.priceScale("volume").applyOptions({scaleMargins: {top: 0.85, bottom: 0}});
    const markers = createSeriesMarkers(candles, []);

    let rows = [], urls = new Map(), lines = [], isBusy = false, reachesBack = true, reachesOn = place.at !== null;

    function paint() {
        const isDark = document.documentElement.classList.contains("dark");
        const ink = isDark ? "#d4d4d8" : "#3f3f46", grid = isDark ? "#27272a" : "#f0f0f2";
        chart.applyOptions({
            layout: {background: {color: "transparent"}, textColor: ink, attributionLogo: true},
            grid: {vertLines: {color: grid}, horzLines: {color: grid}},
        });
    }

    function say(text) {
        document.getElementById("chart-trouble").textContent = text;
    }

    async function ask(address, query) {
        const answer = await fetch(`${address}?${new URLSearchParams(query)}`, {headers: {Accept: "application/json"}});
        if (!answer.ok) throw new Error((await answer.json()).error?.message ?? answer.status);
        return answer.json();
    }

    const series = () => ({market: place.market, symbol: place.symbol, interval: place.interval});

    // Return candles by their place in time; what is missing of them is said
    async function fetchCandles(span) {
        const told = await ask(place.candles, {...series(), ...span});
        say(told.missing.length ? place.words.missing.replace("{reason}", told.missing[0].detail) : "");
        return told.data;
    }

    function precisionOf(found) {
        const digits = found.map((each) => (each.close.split(".")[1] ?? "").length);
        return Math.min(Math.max(...digits, 0), 10);
    }

    function add(found) {
        const known = new Map(rows.map((each) => [each.time, each]));
        for (const each of found) known.set(each.time, each);
        rows = [...known.values()].sort((one, other) => one.time - other.time);
    }

    function draw() {
        const precision = precisionOf(rows.slice(-200));
        candles.applyOptions({priceFormat: {type: "price", precision, minMove: 10 ** -precision}});
        candles.setData(rows.map((each) => ({time: each.time / 1000, open: +each.open, high: +each.high, low: +each.low, close: +each.close})));
        volume.setData(rows.map((each) => ({time: each.time / 1000, value: +each.volume, color: +each.close < +each.open ? "#dc262633" : "#16a34a33"})));
    }

    // Where in the rows a moment lies: the newest candle that opened before it
    function candleAt(time) {
        let low = 0, high = rows.length;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (rows[middle].time <= time) low = middle + 1; else high = middle;
        }
        return rows[Math.max(low - 1, 0)];
    }

    function markerOf(mark, id) {
        const isFill = mark.kind !== "alarm", isSale = mark.kind === "sell";
        return {
            id,
            time: candleAt(mark.time).time / 1000,
            position: isSale || mark.tone === "bad" ? "aboveBar" : "belowBar",
            shape: isFill ? (isSale ? "arrowDown" : "arrowUp") : "circle",
            color: isSale ? "#dc2626" : isFill ? "#16a34a" : COLOURS[mark.tone],
            text: isFill && box.clientWidth > 600 ? mark.text : "",
            size: isFill ? 1.5 : 0.8,
        };
    }

    function drawLines(found) {
        lines.forEach((each) => chart.removeSeries(each));
        const end = rows.at(-1).time;
        lines = found.filter((each) => each.since <= end).map((each) => {
            const from = candleAt(each.since).time, to = Math.max(candleAt(each.until ?? end).time, from);
            const line = chart.addSeries(LineSeries, {
                color: COLOURS[each.kind], lineWidth: 1, lineStyle: STYLES[each.kind], title: each.until ? "" : each.text,
                priceLineVisible: false, lastValueVisible: !each.until, crosshairMarkerVisible: false,
                autoscaleInfoProvider: each.until ? undefined : () => null,
            });
            const ends = from === to ? [from] : [from, to];
            line.setData(ends.map((time) => ({time: time / 1000, value: +each.price})));
            return line;
        });
    }

    function list(marks) {
        const items = marks.slice().reverse().map((mark) => {
            const item = document.createElement("li"), link = document.createElement("a"), time = document.createElement("time");
            time.textContent = new Date(mark.time).toISOString().slice(0, 19).replace("T", " ");
            link.href = mark.url;
            link.textContent = mark.text;
            item.append(time, " ", link, ` ${mark.sentence}`);
            return item;
        });
        if (!items.length) items.push(Object.assign(document.createElement("li"), {textContent: place.words.nothing}));
        document.getElementById("chart-marks").replaceChildren(...items);
    }

    async function mark() {
        if (!rows.length) return;
        const query = {market: place.market, symbol: place.symbol, since: rows[0].time, until: reachesOn ? rows.at(-1).time : Date.now() + 60000};
        if (place.strategy) query.strategy = place.strategy;
        if (place.operation) query.operation = place.operation;
        const told = await ask(place.marks, query);
        urls = new Map(told.marks.map((each, number) => [`mark${number}`, each.url]));
        markers.setMarkers(told.marks.map((each, number) => markerOf(each, `mark${number}`)));
        drawLines(told.lines);
        list(told.marks);
        box.dataset.marks = told.marks.length;
    }

    async function load(span, note) {
        if (isBusy) return;
        isBusy = true;
        try {
            const before = rows.length, found = await fetchCandles(span);
            note?.(found);
            add(found);
            if (rows.length !== before || !before) draw();
            box.dataset.candles = rows.length;
            await mark();
        } catch (error) {
            say(`${place.words.failed} ${error.message}`);
        } finally {
            isBusy = false;
        }
    }

    const older = () => load({end_date: rows[0].time, limit: A_PAGE}, (found) => { reachesBack = found.length > 0; });
    const newer = () => load({start_date: rows.at(-1).time + 1, limit: A_PAGE}, (found) => { reachesOn = found.length >= A_PAGE; });

    function scrolled(range) {
        if (!range || !rows.length || isBusy) return;
        if (range.from < NEAR && reachesBack) older();
        else if (range.to > rows.length - NEAR && reachesOn) newer();
    }

    function tell(parameter) {
        const found = parameter.seriesData?.get(candles) ?? candles.data().at(-1);
        if (!found) return;
        const at = new Date(found.time * 1000).toISOString().slice(0, 16).replace("T", " ");
        legend.textContent = `${place.symbol} ${place.interval} · ${at} UTC · O ${found.open} H ${found.high} L ${found.low} C ${found.close}`;
    }

    async function begin() {
        paint();
        await (place.at ? load({end_date: place.at + 1, limit: A_PAGE}) : load({limit: A_PAGE}));
        if (place.at && rows.length) await newer();
        if (rows.length) {
            const middle = place.at ? rows.indexOf(candleAt(place.at)) : rows.length - AROUND / 2;
            chart.timeScale().setVisibleLogicalRange({from: middle - AROUND / 2, to: middle + AROUND / 2});
        }
        tell({});
        chart.timeScale().subscribeVisibleLogicalRangeChange(scrolled);
        setInterval(() => { if (!document.hidden && !reachesOn && rows.length) newer().then(() => tell({})); }, FRESH);
    }

    chart.subscribeCrosshairMove(tell);
    chart.subscribeClick((parameter) => {
        const url = urls.get(parameter.hoveredObjectId);
        if (url) location.href = url;
    });
    new MutationObserver(paint).observe(document.documentElement, {attributes: true, attributeFilter: ["class"]});
    begin();
})();
