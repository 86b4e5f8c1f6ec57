"use strict";
// Say while a strategy is typed what saving would say, and what its figures mean. <p id="strategy-check" data-check="address">
// names whom to ask: it takes the form as it stands and answers {problems: {field: [sentence]}, notes: {field: [{sentence, is_warning}]}}.
// An empty field that nobody came to yet is not complained about; of a stored strategy everything is said.
document.addEventListener("DOMContentLoaded", () => {
    const PAUSE = 400;
    const box = document.getElementById("strategy-check");
    const form = document.getElementById("strategy_form");
    if (!box || !form) return;
    const touched = new Set(), said = new Map();
    const isStored = box.hasAttribute("data-stored");
    let timer, asked;

    function fieldOf(name) {
        return form.elements[name] ?? form.elements[`${name}_0`];
    }

    // Made before there is anything to say: a live region announces what changes in it
    function placeOf(name) {
        if (said.has(name)) return said.get(name);
        const field = fieldOf(name), around = field?.closest?.(".group");
        if (!around || field.type === "hidden") return null;
        const place = document.createElement("ul");
        place.className = "pelusa-check";
        place.id = `check-${name}`;
        place.setAttribute("aria-live", "polite");
        around.append(place);
        const described = field.getAttribute("aria-describedby");
        field.setAttribute("aria-describedby", described ? `${described} ${place.id}` : place.id);
        said.set(name, place);
        return place;
    }

    // A leg counts as begun with its size or its intervals; then what it lacks is said
    function isDue(name) {
        const leg = name.match(/^legs-\d+-/)?.[0];
        return isStored || touched.has(name) || Boolean(fieldOf(name)?.value) || Boolean(leg && touched.has(`${leg}size`));
    }

    function line(words, kind) {
        const item = document.createElement("li");
        item.className = kind;
        item.textContent = words;
        return item;
    }

    function show(answer) {
        const homeless = [];
        let wrong = 0;
        for (const name of new Set([...said.keys(), ...Object.keys(answer.problems), ...Object.keys(answer.notes)])) {
            const place = placeOf(name);
            const problems = isDue(name) ? answer.problems[name] ?? [] : [];
            wrong += (answer.problems[name] ?? []).length ? 1 : 0;
            if (!place) {
                // It is about a leg as a whole
                homeless.push(...answer.problems[name] ?? []);
                continue;
            }
            const lines = problems.map((words) => line(words, "pelusa-loss"));
            for (const note of answer.notes[name] ?? []) lines.push(line(note.sentence, note.is_warning ? "pelusa-warning" : ""));
            if (place.textContent !== lines.map((each) => each.textContent).join("")) place.replaceChildren(...lines);
            if (problems.length) fieldOf(name).setAttribute("aria-invalid", "true");
            else fieldOf(name).removeAttribute("aria-invalid");
        }
        const words = wrong ? box.dataset.wrong.replace("{count}", wrong) : box.dataset.right;
        box.textContent = [words, ...homeless].join(" ");
        box.classList.toggle("pelusa-good", !wrong);
    }

    async function ask() {
        asked?.abort();
        const mine = asked = new AbortController();
        try {
            const answer = await fetch(box.dataset.check, {method: "POST", body: new FormData(form), signal: mine.signal});
            if (answer.ok && !answer.redirected) show(await answer.json());
            box.classList.toggle("pelusa-stale", !answer.ok);
        } catch (error) {
            // Typing went on meanwhile, or nobody answered: saving asks again anyway
            if (!mine.signal.aborted) box.classList.add("pelusa-stale");
        }
    }

    function changed(event) {
        if (event.target.name) touched.add(event.target.name);
        clearTimeout(timer);
        timer = setTimeout(ask, PAUSE);
    }

    for (const field of form.elements) if (field.name && field.type !== "hidden") placeOf(field.name.replace(/_[01]$/, ""));
    form.addEventListener("input", changed);
    form.addEventListener("change", changed);
    ask();
});
