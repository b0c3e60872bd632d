// Makes a page live: it hears that what it shows has changed, fetches itself again, and takes over what is different.
// Without it every page says the same, as of the moment at which it was asked for.
"use strict";

const main = document.querySelector("main");
const sign = document.querySelector(".live");
const PAUSE = 1000;
let skew = Date.now() / 1000 - Number(main.dataset.now);
let running = false;
let again = false;

// Make `old` what `fresh` is, touching nothing that is the same already: what has the focus, is open or selected stays.
function adopt(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  adoptChildren(old, fresh);
}

// What a node is about: the same node of an older page is found by it, wherever that stood.
function about(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeName;
  const named = node.id || node.getAttribute("aria-labelledby") || node.getAttribute("href");
  const listed = ["LI", "TR"].includes(node.nodeName) && node.querySelector("a[href]")?.getAttribute("href");
  return `${node.nodeName} ${named || listed || node.getAttribute("class") || ""}`;
}

function adoptChildren(old, fresh) {
  const after = [...fresh.childNodes];
  const wanted = after.map(about);
  let at = old.firstChild;
  after.forEach((child, place) => {
    let match = at;
    while (match && about(match) !== wanted[place]) match = match.nextSibling;
    if (!match) {
      old.insertBefore(document.importNode(child, true), at);
      return;
    }
    while (at !== match && !wanted.includes(about(at), place + 1)) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    if (at === match) at = at.nextSibling;
    else old.insertBefore(match, at);
    adopt(match, child);
  });
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

async function refresh(pause = PAUSE) {
  if (running) {
    again = true;
    return;
  }
  running = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      adopt(main, fresh);
      adopt(document.querySelector(".bottom p"), page.querySelector(".bottom p"));
      document.title = page.title;
      skew = Date.now() / 1000 - Number(fresh.dataset.now);
      tick();
    }
  } catch {
    // The server is away; the next event, or the next connection, tries again.
  }
  setTimeout(() => {
    running = false;
    if (again) {
      again = false;
      refresh();
    }
  }, pause);
}

// A long time line is a window on its rows, with room above and below for the others: scrolling moves it.
function follow() {
  const table = main.querySelector(".timeline[data-total]");
  if (!table || running) return;
  const [first, total, size, height] = ["first", "total", "size", "height"].map((name) => Number(table.dataset[name]));
  const before = table.querySelector(".before")?.getBoundingClientRect();
  const after = table.querySelector(".after")?.getBoundingClientRect();
  if (!(before && before.bottom > 0) && !(after && after.top < innerHeight)) return;
  const top = table.tBodies[0].getBoundingClientRect().top;
  const seen = Math.round((innerHeight / 2 - top) / height - size / 2);
  const row = Math.max(0, Math.min(total - size, seen));
  if (row === first) return;
  const address = new URL(location.href);
  address.searchParams.set("row", row);
  address.hash = "";
  history.replaceState(null, "", address);
  refresh(100);
}

// A box of the graph, and what closes it, change the page in place.
function step(event) {
  const link = event.target.closest?.('a[href^="?"]');
  if (!link || !link.getAttribute("href").endsWith("#graph") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const address = new URL(link.getAttribute("href"), location.href); // an SVG's link has no plain `href`
  const row = new URL(location.href).searchParams.get("row");
  if (row !== null) address.searchParams.set("row", row);
  history.pushState(null, "", address);
  refresh(100);
}

// The same words as the server's, so that nothing jumps.
function roughly(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  for (const [unit, word] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (whole >= unit) return `${Math.floor(whole / unit)} ${word}`;
  }
  return `${whole} s`;
}

// A moment as the reader's own clock and calendar have it; the title has it in UTC.
const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const TIME = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "long" });

function said(how, at, now) {
  if (how === "ago") return `${roughly(now - at)} ago`;
  if (how === "ahead") return `in ${roughly(at - now)}`;
  return (how === "clock" ? CLOCK : TIME).format(at * 1000);
}

function tick() {
  const now = Date.now() / 1000 - skew;
  for (const time of document.querySelectorAll("time[data-said]")) {
    const at = Date.parse(time.dateTime) / 1000;
    const words = said(time.dataset.said, at, now);
    if (time.textContent !== words) time.textContent = words;
  }
  for (const bar of main.querySelectorAll("progress[data-began]")) {
    bar.value = Math.min(bar.max, now - Number(bar.dataset.began));
  }
}

function say(words, on) {
  sign.hidden = false;
  sign.classList.toggle("on", on);
  if (sign.textContent !== words) sign.textContent = words;
}

if (main.dataset.live !== undefined && "EventSource" in window) {
  const source = new EventSource(`/live?${main.dataset.live}`);
  source.addEventListener("mark", (event) => {
    say("Live", true);
    if (event.data !== main.dataset.mark) refresh();
  });
  source.addEventListener("error", () => say("Not live: the connection is lost", false));
}
if (main.dataset.every) setInterval(() => main.dataset.every && refresh(), 1000 * main.dataset.every);
setInterval(tick, 5000);
tick();
document.documentElement.classList.add("scripted");
addEventListener("scroll", () => follow(), { passive: true });
setInterval(follow, 500);
main.addEventListener("click", step);
addEventListener("popstate", () => refresh(100));
