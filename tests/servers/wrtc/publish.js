// Publishes raw I420 pictures by WHIP with libwebrtc, until its standard input is closed.
// Arguments: endpoint, token, file of pictures, width, height, pictures a second, codec.
import { readFileSync } from "node:fs";
import wrtc from "@roamhq/wrtc";

const [endpoint, token, file, width, height, rate, codec] = process.argv.slice(2);
const { RTCPeerConnection, RTCRtpSender, MediaStream, nonstandard } = wrtc;
const size = (Number(width) * Number(height) * 3) / 2;
const pictures = readFileSync(file);
const source = new nonstandard.RTCVideoSource();
const track = source.createTrack();
const peer = new RTCPeerConnection();
peer.onconnectionstatechange = () => console.log(peer.connectionState);

const transceiver = peer.addTransceiver(track, { direction: "sendonly", streams: [new MediaStream([track])] });
const codecs = RTCRtpSender.getCapabilities("video").codecs;
transceiver.setCodecPreferences(codecs.filter((entry) => [`video/${codec}`.toLowerCase(), "video/rtx"].includes(entry.mimeType.toLowerCase())));
await peer.setLocalDescription(await peer.createOffer());
await new Promise((resolve) => {
  const done = () => peer.iceGatheringState === "complete" && resolve();
  peer.onicegatheringstatechange = done;
  done();
});
const authorization = { Authorization: `Bearer ${token}` };
const answer = await fetch(endpoint, {
  method: "POST",
  headers: { "Content-Type": "application/sdp", ...authorization },
  body: peer.localDescription.sdp,
});
console.log(answer.status);
if (answer.status !== 201) process.exit(1);
await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });

let index = 0;
const timer = setInterval(() => {
  const start = (index++ * size) % pictures.length;
  source.onFrame({ width: Number(width), height: Number(height), data: new Uint8ClampedArray(pictures.subarray(start, start + size)) });
}, 1000 / Number(rate));

process.stdin.resume();
process.stdin.on("end", async () => {
  clearInterval(timer);
  const session = new URL(answer.headers.get("Location"), endpoint);
  const gone = await fetch(session, { method: "DELETE", headers: authorization });
  console.log(gone.status);
  peer.close();
  process.exit(0);
});
