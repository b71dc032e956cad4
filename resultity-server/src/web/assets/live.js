// Numbers that follow the network: whatever has `data-live` names what it shows, `data-as` how it is written.
"use strict";

const written = {
  count: (n) => Math.round(n).toLocaleString("en-US"),
  number: (n) => (n < 10 ? String(Math.round(n * 100) / 100) : n < 100 ? n.toFixed(1) : Math.round(n).toLocaleString("en-US")),
  percent: (n) => `${written.number(n * 100)} %`,
  millis: (n) => (n < 1000 ? `${written.number(n)} ms` : `${written.number(n / 1000)} s`),
};

const environment = document.documentElement.dataset.environment;
const sign = document.querySelector("[data-connection]");
const source = new EventSource(`/status/v1/events?environment=${encodeURIComponent(environment)}`);

function show(status) {
  for (const place of document.querySelectorAll("[data-live]")) {
    const value = place.dataset.live.split(".").reduce((part, name) => part?.[name], status);
    if (typeof value !== "number") continue;
    const text = written[place.dataset.as ?? "count"](value);
    if (place.tagName === "METER") { place.value = value; continue; }
    if (place.textContent === text) continue;
    place.textContent = text;
    place.classList.remove("changed");
    void place.offsetWidth;
    place.classList.add("changed");
  }
}

function tell(isLive) {
  if (!sign) return;
  sign.classList.toggle("off", !isLive);
  sign.textContent = isLive ? "Live" : "Not live: connecting again";
}

source.addEventListener("open", () => tell(true));
source.addEventListener("error", () => tell(false));
source.addEventListener("network", (event) => show(JSON.parse(event.data)));
addEventListener("pagehide", () => source.close());
