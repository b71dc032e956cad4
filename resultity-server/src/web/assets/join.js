// Follows a node from its code to its first work: asks for the account's nodes until a new one is there, then for that one.
"use strict";

const steps = document.querySelector("[data-join]");
const why = document.querySelector("[data-why]");
const known = new Set(steps.dataset.known.split(" ").filter(Boolean));
const place = `environment=${encodeURIComponent(steps.dataset.environment)}`;

function reach(name, text) {
  for (const step of steps.children) {
    step.classList.add("done");
    step.classList.remove("now");
    if (step.dataset.step === name) {
      step.classList.toggle("now", name !== "ready");
      step.classList.toggle("done", name === "ready");
      if (text) step.textContent = text;
      break;
    }
  }
}

function explain(reasons) {
  why.replaceChildren(...reasons.map((reason) => {
    const line = document.createElement("li");
    const strong = document.createElement("strong");
    strong.textContent = reason.message;
    line.append(strong, document.createElement("br"), reason.advice);
    return line;
  }));
  why.hidden = reasons.length === 0;
}

async function read(path) {
  const answer = await fetch(`/gate/v1/${path}${path.includes("?") ? "&" : "?"}${place}`);
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  return answer.json();
}

let joined = null;

async function look() {
  if (!joined) {
    const { data } = await read("nodes?limit=100");
    joined = data.find((node) => !known.has(node.id))?.id ?? null;
    if (!joined) return;
  }
  const node = await read(`nodes/${joined}`);
  if (node.in_rotation) {
    reach("ready", "It is ready, and gets work");
    explain([]);
    const link = document.createElement("a");
    link.href = `/network/nodes/${joined}`;
    link.className = "button";
    link.textContent = "Look at the node";
    steps.after(link);
    return "end";
  }
  reach(node.connected ? "tested" : "connected", node.connected ? "Its models are being tested" : "It belongs to you; now it has to connect");
  const { reasons } = await read(`nodes/${joined}/why`);
  explain(node.connected ? reasons : []);
}

reach("bound");
(async () => {
  for (;;) {
    try {
      if ((await look()) === "end") return;
    } catch (error) {
      explain([{ message: "The server could not be asked", advice: error.message }]);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
  }
})();
