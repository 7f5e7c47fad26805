// Pairs this browser: with the PIN that is typed, or the ticket that a QR code's address carried.

const form = document.getElementById("form");
const pin = document.getElementById("pin");
const said = document.getElementById("said");
const go = document.getElementById("go");

async function pair(secret) {
  go.disabled = true;
  said.textContent = "Pairing ...";
  try {
    const answer = await fetch("/pair", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(secret),
    });
    if (answer.ok) {
      said.textContent = "Paired.";
      location.replace(`/${location.search}`);
      return;
    }
    const told = await answer.json().catch(() => ({}));
    said.textContent = sentence(told.error ?? `the server answered ${answer.status}`);
  } catch {
    said.textContent = "The server does not answer; is it still running?";
  }
  go.disabled = false;
  pin.value = "";
  pin.focus();
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const digits = pin.value.replace(/[^0-9]/g, "");
  if (digits.length === 6) {
    pair({ pin: digits });
  } else {
    said.textContent = `Six digits are needed, there are ${digits.length}.`;
    pin.focus();
  }
});

document.getElementById("keys").addEventListener("click", (event) => {
  const key = event.target.value;
  if (event.target.type !== "button") {
    return;
  }
  pin.value = key === "back" ? pin.value.slice(0, -1) : (pin.value + key).slice(0, 6);
});

const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
if (ticket) {
  // It is good for one time only; nobody needs to find it in the history.
  history.replaceState(null, "", "/");
  pair({ ticket });
}
