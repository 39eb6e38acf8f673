"use strict";
// What the server sends is HTML that it has escaped; a part of the page is replaced only where it has changed.
const shown = {};
function show(parts) {
  const gone = [...document.querySelectorAll("[id^='stream-']")].some((part) => !(part.id in parts));
  if (gone) return location.reload(); // the daemon was started again without a stream
  for (const [id, html] of Object.entries(parts)) {
    const part = document.getElementById(id);
    if (part === null && id.startsWith("stream-")) return location.reload(); // a stream that is new
    if (part === null || shown[id] === html) continue;
    shown[id] = html;
    const was = part.querySelector(".mark")?.textContent;
    const focused = part.contains(document.activeElement) ? document.activeElement.textContent : null;
    part.innerHTML = html;
    const image = part.closest(".stream")?.querySelector(".thumbnail[hidden]");
    if (image && was !== part.querySelector(".mark")?.textContent) renew(image); // the stream may be back
    if (focused === null) continue;
    const buttons = [...part.querySelectorAll("button")];
    (buttons.find((button) => button.textContent === focused) ?? buttons[0])?.focus();
  }
}
const SILENT_S = 10; // the daemon sends something every two seconds
if (document.getElementById("budget")) {
  const silent = document.getElementById("silent");
  let source, heardAt = Date.now(), openedAt;
  const open = () => {
    source?.close();
    openedAt = Date.now();
    source = new EventSource("/live");
    source.onmessage = (event) => {
      heardAt = Date.now();
      silent.hidden = true;
      document.body.dataset.live = "yes";
      show(JSON.parse(event.data));
    };
    source.onerror = () => { document.body.dataset.live = "no"; };
  };
  open();
  setInterval(() => { // a connection that is stuck reports no error, and one that was refused is not tried again
    if (Date.now() - Math.max(heardAt, openedAt) < SILENT_S * 1000) return;
    document.body.dataset.live = "no";
    const at = document.getElementById("taken-at").textContent;
    silent.textContent = `The daemon does not answer: all numbers are those of ${at}. The page tries again by itself; ` +
      "if nothing changes, ask on the device, and open the page anew: framesift status --open.";
    silent.hidden = false;
    open();
  }, 1000);
}
function tell(text) {
  const told = document.getElementById("told");
  told.textContent = text;
  setTimeout(() => { if (told.textContent === text) told.textContent = ""; }, 8000);
}
function renew(image) {
  image.hidden = false;
  image.src = image.src.split("?")[0] + "?at=" + Date.now();
}
function hideBroken(image) { // the stream gives no picture now
  if (image.classList?.contains("thumbnail")) image.hidden = true;
}
document.addEventListener("error", (event) => hideBroken(event.target), true);
for (const image of document.images) if (image.complete && !image.naturalWidth) hideBroken(image);
document.addEventListener("click", (event) => {
  const image = event.target;
  if (image.classList.contains("thumbnail")) renew(image);
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-post]");
  if (!button || button.ariaBusy) return; // not disabled, which would take the focus away
  const { post, question, ids, stream, forS } = button.dataset;
  if (question && !confirm(question)) return;
  button.ariaBusy = "true";
  const body = {};
  if (ids) body.ids = ids.split(" ");
  if (stream !== undefined) body.stream = stream || null;
  if (forS) body.for_s = Number(forS);
  try {
    const answer = await fetch(post, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
      signal: AbortSignal.timeout(30000),
    });
    const text = await answer.text();
    tell(answer.ok ? said(post, JSON.parse(text)) : text.trim());
    if (answer.ok && post === "/datapoints/drop" && JSON.parse(text).dropped.length) {
      document.querySelector("main .mark").textContent = "dropped";
      button.closest(".hands").remove();
    }
  } catch (error) {
    tell("the daemon does not answer: " + error.message);
  }
  button.ariaBusy = null;
});
function said(post, fields) {
  if (post === "/datapoints/drop") return fields.dropped.length ? "dropped" : "it could not be dropped: it has left, or is being sent";
  if (post === "/datapoints/retry") return fields.retried.length ? "it is tried again now" : "nothing to try again: it has left, is being sent, or waits only for its turn";
  if (post === "/take") return fields.id ? `taken: ${fields.id}` : `nothing was taken: ${fields.why}`;
  const [who, are, them, take] = fields.stream === null ? ["all streams", "are", "them", "take"] : [fields.stream, "is", "it", "takes"];
  const until = fields.until_s === null ? ` until somebody resumes ${them}` : "";
  const now = post === "/pause" ? `${who} ${are} paused${until}` : fields.was_paused ? `${who} ${take} frames again` : "nothing was paused";
  return fields.note ? `${now}; ${fields.note}` : now;
}
