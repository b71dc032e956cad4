// Signing in with a wallet that the browser has (EIP-1193), by a message that it signs (EIP-4361).
"use strict";

const form = document.querySelector("[data-wallet]");
const said = document.querySelector("[data-wallet-said]");

function tell(text) {
  said.textContent = text;
  said.hidden = false;
}

async function ask(path, body) {
  const headers = { "content-type": "application/json" };
  if (form.dataset.csrf) headers["x-csrf-token"] = form.dataset.csrf;
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const said = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(said.error?.message ?? `The server answered ${answer.status}.`), { code: said.error?.code });
  return said;
}

async function sign() {
  const provider = window.ethereum;
  if (!provider) return tell("This browser has no wallet. Install one, such as MetaMask, and load this page again.");
  tell("Look at your wallet: it asks for your account.");
  const [address] = await provider.request({ method: "eth_requestAccounts" });
  const chain = Number.parseInt(await provider.request({ method: "eth_chainId" }), 16);
  const challenge = await ask(form.dataset.challenge, { address, chain_id: chain, domain: location.host });
  tell("Look at your wallet: it asks you to sign a message. That costs nothing.");
  const hex = Array.from(new TextEncoder().encode(challenge.message), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const signature = await provider.request({ method: "personal_sign", params: [`0x${hex}`, address] });
  const body = { message: challenge.message, signature };
  if (form.dataset.cookie) body.cookie = true;
  const code = document.querySelector("[data-wallet-code]");
  if (code && code.value.trim()) {
    const text = code.value.trim();
    body.second_factor = /^\d{6}$/.test(text) ? { totp: text } : { recovery_code: text };
  }
  await ask(form.dataset.finish, body);
  location.assign(form.dataset.next);
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await sign();
  } catch (error) {
    if (error.code === "second_factor_required") {
      document.querySelector("[data-wallet-factor]").hidden = false;
      tell("This account has a second factor: enter its code and try again.");
    } else {
      tell(error.code === 4001 ? "The wallet was told not to sign." : error.message);
    }
  } finally {
    button.disabled = false;
  }
});
