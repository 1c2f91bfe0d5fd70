// Publishes a camera by WHIP (RFC 9725). No framework: one page, one connection, one state.
"use strict";

const element = (id) => document.getElementById(id);
const GATHER_LIMIT_MS = 2000;
const CONNECT_LIMIT_MS = 15_000;
const LONGEST_PAUSE_MS = 30_000;
const MAX_BITRATE = { "640x360": 1_500_000, "1280x720": 3_000_000, "1920x1080": 6_000_000 };
const PASSING_REFUSALS = [409, 502, 503, 504];

const INSECURE = "Browsers give cameras to secure pages only. Open this page by https, or from the machine itself as localhost.";
const NO_PATH = "No video reaches the server: UDP is blocked, or the server's address cannot be reached from here.";
const CAMERA_FAULTS = {
  NotAllowedError: "The browser was not allowed to use the camera. Allow it in the address bar and try again.",
  NotFoundError: "No camera was found. Plug one in and try again.",
  NotReadableError: "The camera is in use by another program, or it failed. Close the other program and try again.",
  AbortError: "The camera could not be started. Unplug it, plug it in and try again.",
  OverconstrainedError: "The camera does not support this resolution. Choose another resolution or camera.",
  SecurityError: "The browser's settings forbid the use of cameras on this page.",
};
const REFUSALS = {
  400: "The server could not read this browser's offer.",
  401: "The token is missing or wrong.",
  403: "Pages from this site may not publish here.",
  404: "This camera does not accept publishers.",
  409: "Another publisher is connected. Try again when it has left.",
  413: "The browser's offer is too large.",
  422: "The server supports none of this browser's video codecs.",
  503: "The server is starting or stopping. Try again in a moment.",
};

// What a person can read; `passing` is whether waiting may help.
class Failure extends Error {
  constructor(message, passing = false) {
    super(message);
    this.passing = passing;
  }
}

let stream = null;
let connection = null;
let session = null;
let sender = null;
let ticker = null;
let retry = null;
let before = null;
let wakeLock = null;
// Counts attempts, so that one that is overtaken by a click on Stop can end.
let attempt = 0;
let failures = 0;
let wasLive = false;

function show(state, text) {
  element("state").dataset.state = state;
  element("state").textContent = text;
  const active = state === "busy" || state === "live";
  element("start").hidden = active;
  element("stop").hidden = !active;
  element("codec").disabled = active;
  element("token").disabled = active;
}

function say(message) {
  element("message").textContent = message;
  element("message").hidden = message === "";
}

function authorization() {
  const token = element("token").value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function wantedPicture() {
  const [width, height] = element("resolution").value.split("x").map(Number);
  return { width: { ideal: width }, height: { ideal: height } };
}

async function openCamera() {
  if (!navigator.mediaDevices) throw new Failure(INSECURE);
  const deviceId = element("camera").value;
  const video = { ...wantedPicture(), frameRate: { ideal: 25, max: 30 } };
  if (deviceId) video.deviceId = { exact: deviceId };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw new Failure(CAMERA_FAULTS[error.name] || `The camera cannot be opened (${error.name}).`);
  }
}

async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const chosen = element("camera").value;
  const cameras = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
  if (cameras.length === 0) return;
  element("camera").replaceChildren(
    ...cameras.map((camera, index) => new Option(camera.label || `Camera ${index + 1}`, camera.deviceId)),
  );
  const current = stream?.getVideoTracks()[0]?.getSettings().deviceId || chosen;
  if (cameras.some((camera) => camera.deviceId === current)) element("camera").value = current;
}

function useStream(opened) {
  stopCamera();
  stream = opened;
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => fail(new Failure("The camera was unplugged, or another program took it.")));
  element("preview").srcObject = stream;
  element("placeholder").hidden = true;
  return track;
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  element("preview").srcObject = null;
  element("placeholder").hidden = false;
}

function preferCodec(transceiver) {
  const wanted = `video/${element("codec").value}`.toLowerCase();
  const codecs = RTCRtpSender.getCapabilities("video").codecs;
  const chosen = codecs.filter((codec) => codec.mimeType.toLowerCase() === wanted);
  if (chosen.length === 0 || !transceiver.setCodecPreferences) {
    throw new Failure(`This browser cannot send ${element("codec").selectedOptions[0].text} on demand. Choose the other codec, or update the browser.`);
  }
  const repair = codecs.filter((codec) => codec.mimeType.toLowerCase() === "video/rtx");
  transceiver.setCodecPreferences([...chosen, ...repair]);
}

async function ask(url, request) {
  try {
    return await fetch(url, request);
  } catch {
    throw new Failure("The server cannot be reached.", true);
  }
}

async function iceServers() {
  const answer = await ask("whip", { method: "OPTIONS" });
  const links = answer.headers.get("Link") || "";
  return [...links.matchAll(/<([^>]+)>;\s*rel="ice-server"/g)].map((match) => ({ urls: match[1] }));
}

function gathered(peer) {
  return new Promise((resolve) => {
    const done = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", done);
    setTimeout(resolve, GATHER_LIMIT_MS);
    done();
  });
}

async function post(offer) {
  const answer = await ask("whip", {
    method: "POST",
    headers: { "Content-Type": "application/sdp", ...authorization() },
    body: offer,
  });
  const text = await answer.text();
  if (answer.status !== 201) {
    let detail = "";
    try { detail = JSON.parse(text).detail; } catch { /* a proxy answered */ }
    const message = REFUSALS[answer.status] || "The server refused.";
    throw new Failure(
      `${message} (${answer.status}${detail ? `: ${detail}` : ""})`,
      PASSING_REFUSALS.includes(answer.status),
    );
  }
  session = new URL(answer.headers.get("Location"), answer.url);
  return text;
}

async function limitBitrate() {
  const parameters = sender.getParameters();
  if (!parameters.encodings?.length) return;
  parameters.encodings[0].maxBitrate = MAX_BITRATE[element("resolution").value];
  // Faces need sharp pictures more than many of them.
  parameters.degradationPreference = "maintain-resolution";
  await sender.setParameters(parameters);
}

async function publish() {
  const mine = ++attempt;
  const overtaken = () => mine !== attempt;
  if (!stream) {
    show("busy", "Opening the camera");
    const opened = await openCamera();
    if (overtaken()) {
      opened.getTracks().forEach((track) => track.stop());
      return;
    }
    useStream(opened);
    await listCameras();
  }
  show("busy", "Connecting");
  const servers = await iceServers();
  if (overtaken()) return;
  const peer = new RTCPeerConnection({ iceServers: servers, bundlePolicy: "max-bundle" });
  connection = peer;
  peer.addEventListener("connectionstatechange", () => peer === connection && follow(peer.connectionState));
  const transceiver = peer.addTransceiver(stream.getVideoTracks()[0], { direction: "sendonly", streams: [stream] });
  sender = transceiver.sender;
  preferCodec(transceiver);
  await peer.setLocalDescription();
  await gathered(peer);
  if (overtaken()) return;
  const answer = await post(peer.localDescription.sdp);
  if (overtaken()) {
    endSession();
    return;
  }
  await peer.setRemoteDescription({ type: "answer", sdp: answer });
  await limitBitrate();
  setTimeout(() => {
    if (peer === connection && ["new", "connecting"].includes(peer.connectionState)) fail(new Failure(NO_PATH, true));
  }, CONNECT_LIMIT_MS);
  ticker = setInterval(measure, 1000);
}

function follow(state) {
  if (state === "connected") {
    failures = 0;
    wasLive = true;
    say("");
    show("live", "Live");
    stayAwake();
  } else if (state === "disconnected") {
    show("busy", "Unsteady");
    say("The connection is unstable. It may recover by itself.");
  } else if (state === "failed" || state === "closed") {
    fail(new Failure(wasLive
      ? "The connection was lost: the camera has stopped, another publisher took over, or the network failed."
      : NO_PATH, true));
  }
}

// A phone that locks its screen takes the camera away.
async function stayAwake() {
  try {
    wakeLock ??= await navigator.wakeLock?.request("screen");
    wakeLock?.addEventListener("release", () => { wakeLock = null; });
  } catch { /* the battery is low, or the browser knows no wake locks */ }
}

async function measure() {
  const peer = connection;
  if (!peer) return;
  const report = await peer.getStats();
  const codecs = {};
  let sent = null;
  let lost = null;
  report.forEach((entry) => {
    if (entry.type === "codec") codecs[entry.id] = entry.mimeType.replace("video/", "");
    if (entry.type === "outbound-rtp" && entry.kind === "video") sent = entry;
    if (entry.type === "remote-inbound-rtp" && entry.kind === "video") lost = entry;
  });
  if (peer !== connection || !sent) return;
  if (before) {
    const seconds = (sent.timestamp - before.timestamp) / 1000;
    const rate = (8 * (sent.bytesSent - before.bytesSent)) / seconds;
    if (seconds > 0) element("bitrate").textContent = `${(rate / 1e6).toFixed(2)} Mbit/s`;
  }
  before = { timestamp: sent.timestamp, bytesSent: sent.bytesSent };
  if (sent.frameWidth) {
    element("picture").textContent = `${sent.frameWidth}×${sent.frameHeight}, ${Math.round(sent.framesPerSecond || 0)}/s`;
  }
  element("sent-codec").textContent = codecs[sent.codecId] || "–";
  element("lost").textContent = lost ? `${Math.max(0, lost.packetsLost)}` : "–";
}

function endSession() {
  if (!session) return;
  // keepalive lets the request outlive the page.
  fetch(session, { method: "DELETE", headers: authorization(), keepalive: true }).catch(() => {});
  session = null;
}

function disconnect() {
  attempt += 1;
  clearInterval(ticker);
  clearTimeout(retry);
  const peer = connection;
  connection = sender = before = null;
  peer?.close();
  endSession();
  for (const id of ["bitrate", "picture", "sent-codec", "lost"]) element(id).textContent = "–";
}

function close() {
  disconnect();
  stopCamera();
  wakeLock?.release().catch(() => {});
  wakeLock = null;
  wasLive = false;
  failures = 0;
}

function readable(error) {
  return error instanceof Failure ? error : new Failure(`Publishing failed (${error.name}: ${error.message}).`);
}

// What was live once is tried again until somebody stops it; anything else is told and left.
function fail(error) {
  const failure = readable(error);
  if (!wasLive || !failure.passing) {
    close();
    show("failed", "Failed");
    say(failure.message);
    return;
  }
  disconnect();
  const pause = Math.min(LONGEST_PAUSE_MS, 1000 * 2 ** failures) * (0.7 + 0.3 * Math.random());
  failures += 1;
  show("busy", "Reconnecting");
  say(`${failure.message} Trying again in ${Math.ceil(pause / 1000)} s.`);
  retry = setTimeout(() => attemptPublish(), pause);
}

function attemptPublish() {
  const began = attempt + 1;
  publish().catch((error) => {
    if (began === attempt) fail(error);
  });
}

element("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  if (connection) return;
  say("");
  attemptPublish();
});

element("stop").addEventListener("click", () => {
  close();
  show("idle", "Stopped");
  say("");
});

element("resolution").addEventListener("change", async () => {
  const track = stream?.getVideoTracks()[0];
  if (!track || !sender) return;
  try {
    await track.applyConstraints(wantedPicture());
    await limitBitrate();
    say("");
  } catch {
    say("The camera does not support this resolution; the picture stays as it is.");
  }
});

element("camera").addEventListener("change", async () => {
  if (!sender) return;
  const mine = attempt;
  try {
    // Many phones open one camera at a time.
    stopCamera();
    const opened = await openCamera();
    if (mine !== attempt) opened.getTracks().forEach((track) => track.stop());
    else await sender.replaceTrack(useStream(opened));
  } catch (error) {
    fail(error);
  }
});

addEventListener("pagehide", () => { if (connection || stream) close(); });
addEventListener("visibilitychange", () => { if (!document.hidden && wasLive) stayAwake(); });

// A token after # stays in the browser: it is never part of a request's address.
element("token").value = new URLSearchParams(location.hash.slice(1)).get("token") || "";
if (!navigator.mediaDevices || !window.RTCPeerConnection) {
  show("failed", "Failed");
  say(navigator.mediaDevices ? "This browser cannot publish: it has no WebRTC." : INSECURE);
} else {
  listCameras().catch(() => {});
}
