// What makes every page better where scripts run; without them everything still works.
"use strict";

const units = [[86400, "days", 172800], [3600, "h", 3600], [60, "min", 60], [1, "s", 0]];

function relative(at) {
  const apart = Math.floor(Date.now() / 1000) - at;
  const size = Math.abs(apart);
  if (size < 5) return "just now";
  const [length, name] = units.find(([, , from]) => size >= from);
  const text = `${Math.floor(size / length)} ${name}`;
  return apart >= 0 ? `${text} ago` : `in ${text}`;
}

function refreshTimes() {
  for (const time of document.querySelectorAll("time[data-at]")) time.textContent = relative(Number(time.dataset.at));
}

// A button that copies what stands in the element that it names.
for (const source of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button small quiet";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy it";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  source.after(button);
}

// What cannot be undone is asked once more.
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.ask ?? event.target.dataset.ask;
  if (question && !confirm(question)) event.preventDefault();
});

refreshTimes();
setInterval(refreshTimes, 15000);
