"use strict";
// What the server sends is HTML that it has escaped; a part of the page is replaced only where it has changed.
const shown = {};
function show(parts) {
  for (const [id, html] of Object.entries(parts)) {
    const part = document.getElementById(id);
    if (part === null && id.startsWith("stream-")) return location.reload(); // a stream that is new
    if (part === null || shown[id] === html) continue;
    shown[id] = html;
    part.innerHTML = html;
  }
}
if (document.getElementById("budget")) {
  const source = new EventSource("/live");
  source.onmessage = (event) => { document.body.dataset.live = "yes"; show(JSON.parse(event.data)); };
  source.onerror = () => { document.body.dataset.live = "no"; };
}
function tell(text) {
  const told = document.getElementById("told");
  told.textContent = text;
  setTimeout(() => { if (told.textContent === text) told.textContent = ""; }, 8000);
}
function hideBroken(image) { // the stream gives no picture now
  if (image.classList?.contains("thumbnail")) image.hidden = true;
}
document.addEventListener("error", (event) => hideBroken(event.target), true);
for (const image of document.images) if (image.complete && !image.naturalWidth) hideBroken(image);
document.addEventListener("click", (event) => {
  const image = event.target;
  if (image.classList.contains("thumbnail")) image.src = image.src.split("?")[0] + "?at=" + Date.now();
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-post]");
  if (!button) return;
  const { post, question, ids, stream, forS } = button.dataset;
  if (question && !confirm(question)) return;
  button.disabled = true;
  const body = {};
  if (ids) body.ids = ids.split(" ");
  if (stream !== undefined) body.stream = stream || null;
  if (forS) body.for_s = Number(forS);
  try {
    const answer = await fetch(post, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    const text = await answer.text();
    tell(answer.ok ? said(post, JSON.parse(text)) : text.trim());
  } catch (error) {
    tell("the daemon does not answer: " + error.message);
  }
  button.disabled = false;
});
function said(post, fields) {
  if (post === "/datapoints/drop") return fields.dropped.length ? "dropped" : "it could not be dropped: it has left, or is being sent";
  if (post === "/datapoints/retry") return fields.retried.length ? "it is tried again now" : "it waits for nothing";
  if (post === "/take" && fields.id) return `taken: ${fields.id}`;
  if (fields.why) return fields.why;
  return Object.entries(fields).map(([name, value]) => `${name}: ${value}`).join(", ");
}
