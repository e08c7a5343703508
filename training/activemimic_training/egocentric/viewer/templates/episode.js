// The page of an episode: the overlay on the video, the paths in space and the timeline, each on a canvas.
// By hand: a library for the paths in space alone would add megabytes to every page, and nothing ties it to the video.
"use strict";
const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);  // `page_data` of episode_page.py; T frames, data.fps a second
const BODIES = ["camera", "left-wrist", "right-wrist"], AXES = ["axis-x", "axis-y", "axis-z"];
const STATES = ["missing", "interpolated", "observed"];
// Colours are the page's custom properties; where it is dark they are others.
const palette = new Map();
function colour(name) {
  if (!palette.has(name)) palette.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return palette.get(name);
}
const video = element("video"), overlay = element("overlay"), space = element("space"), timeline = element("timeline");
const frames = data.frames;
let now = 0;

function show(frame) {
  now = Math.max(0, Math.min(frames - 1, frame));
  drawOverlay();
  drawSpace();
  drawTimeline();
  element("clock").textContent = `frame ${now} of ${frames}, ${(now / data.fps).toFixed(1)} s`;
}

// Half a frame in, so that no rounding shows a neighbour.
function seek(frame) { video.currentTime = (frame + 0.5) / data.fps; show(frame); }
function follow() {
  const frame = Math.floor(video.currentTime * data.fps + 1e-6);
  if (!video.seeking && frame !== now) show(frame);
  if (!video.paused) requestAnimationFrame(follow);
}

function context(canvas) {
  const scale = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  canvas.width = box.width * scale;
  canvas.height = box.height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return [pen, box.width, box.height];
}

function stroke(pen, line, colour, width, fade) {
  for (let i = 1; i < line.length; i++) {
    pen.globalAlpha = fade ? 1 - 0.75 * i / line.length : 1;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(...line[i - 1]);
    pen.lineTo(...line[i]);
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

function drawOverlay() {
  const [pen, width] = context(overlay), scale = width / data.width, at = data.drawn[now];
  if (!at) return;
  pen.lineCap = "round";
  const scaled = (line) => line.map(([x, y]) => [x * scale, y * scale]);
  at.paths.forEach((lines, body) => lines.forEach((line) => {
    stroke(pen, scaled(line), "#ffffff", 5, true);
    stroke(pen, scaled(line), colour(BODIES[body]), 3, true);
  }));
  at.axes.forEach((hand) => hand.forEach((lines, axis) => lines.forEach((line) => {
    stroke(pen, scaled(line), "#ffffff", 5, false);
    stroke(pen, scaled(line), colour(AXES[axis]), 3, false);
  })));
}

// Orbit: the view looks at `centre` from `distance`, turned by `turn` about the vertical and raised by `rise`.
const orbit = {turn: -2.4, rise: 0.5, distance: 0, centre: [0, 0, 0], shift: [0, 0]};
function frameAll() {
  const points = data.poses.flat().filter((pose) => pose).map((pose) => [pose[3], pose[7], pose[11]]);
  const low = [0, 1, 2].map((i) => Math.min(...points.map((p) => p[i])));
  const high = [0, 1, 2].map((i) => Math.max(...points.map((p) => p[i])));
  if (!points.length) { orbit.distance = 2; data.floor = 0; return; }
  orbit.centre = low.map((value, i) => (value + high[i]) / 2);
  orbit.distance = Math.max(0.4, 1.2 * Math.hypot(...high.map((value, i) => value - low[i])));
  data.floor = low[2];
}

function projector(width, height) {
  const [ct, st, cr, sr] = [Math.cos(orbit.turn), Math.sin(orbit.turn), Math.cos(orbit.rise), Math.sin(orbit.rise)];
  const focal = 1.1 * Math.min(width, height);
  return (point) => {
    const [x, y, z] = point.map((value, i) => value - orbit.centre[i]);
    const [right, back] = [ct * y - st * x, ct * x + st * y];
    const depth = orbit.distance - (cr * back + sr * z);
    if (depth < 0.02) return null;
    const up = cr * z - sr * back;
    return [width / 2 + orbit.shift[0] + focal * right / depth, height / 2 + orbit.shift[1] - focal * up / depth];
  };
}

function drawSpace() {
  const [pen, width, height] = context(space), project = projector(width, height);
  const line = (points, colour, thick, alpha = 1, dash = []) => {
    pen.globalAlpha = alpha;
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.setLineDash(dash);
    pen.beginPath();
    let down = false;
    for (const point of points) {
      const at = point && project(point);
      if (at) pen[down ? "lineTo" : "moveTo"](...at);
      down = Boolean(at);
    }
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  };
  const step = orbit.distance > 6 ? 1 : orbit.distance > 0.9 ? 0.25 : 0.05;
  const [cx, cy] = orbit.centre.map((value) => Math.round(value / step) * step);
  for (let k = -8; k <= 8; k++) {
    line([[cx + k * step, cy - 8 * step, data.floor], [cx + k * step, cy + 8 * step, data.floor]], colour("line"), 1);
    line([[cx - 8 * step, cy + k * step, data.floor], [cx + 8 * step, cy + k * step, data.floor]], colour("line"), 1);
  }
  const place = (pose) => pose && [pose[3], pose[7], pose[11]];
  const raw = element("raw").checked;
  for (let body = 0; body < 3; body++) {
    if (raw && data.raw) line(data.raw.map((poses) => poses[body]), colour("muted"), 1, 0.7, [3, 3]);
    const path = data.poses.map((poses) => place(poses[body]));
    line(path, colour(BODIES[body]), 1.5, 0.35);
    line(path.slice(0, now + 1), colour(BODIES[body]), 2.5);
    const pose = data.poses[now][body];
    if (!pose) continue;
    const along = (x, y, z) => [0, 4, 8].map((r) => pose[r + 3] + pose[r] * x + pose[r + 1] * y + pose[r + 2] * z);
    if (body === 0) {
      const [w, h] = data.half_view.map((half) => 0.15 * half);
      const corners = [[-w, -h], [w, -h], [w, h], [-w, h]].map(([x, y]) => along(x, y, 0.15));
      corners.forEach((corner, i) => line([place(pose), corner, corners[(i + 1) % 4]], colour(BODIES[0]), 1.5));
    } else {
      [[0.08, 0, 0], [0, 0.08, 0], [0, 0, 0.08]].forEach((end, i) => line([place(pose), along(...end)], colour(AXES[i]), 3));
    }
  }
  pen.fillStyle = colour("muted");
  pen.font = "12px system-ui";
  pen.fillText(`grid ${step * 100} cm; up: as the camera was held; drag: turn, shift-drag: move, wheel: zoom`, 8, height - 8);
}

const ROW = 46, LEFT = 92, HEAD = 20;
function drawTimeline() {
  const [pen, width] = context(timeline), unit = (width - LEFT - 6) / frames, x = (frame) => LEFT + frame * unit;
  const bar = (first, stop, y, height, colour) => {
    pen.fillStyle = colour;
    pen.fillRect(x(first), y, Math.max(1.5, (stop - first) * unit), height);
  };
  const label = (text, y, tint = colour("ink")) => { pen.fillStyle = tint; pen.fillText(text, 0, y); };
  pen.font = "12px system-ui";
  label("kept", 12);
  bar(0, frames, 4, 9, colour("panel"));
  data.pieces.forEach(([first, stop]) => {
    bar(first, stop, 4, 9, colour("kept"));
    bar(first, first, 2, 13, colour("kept-from"));
  });
  data.names.forEach((name, body) => {
    const top = HEAD + body * ROW;
    label(name, top + 14, colour(BODIES[body]));
    for (let frame = 0; frame < frames; frame++) bar(frame, frame + 1, top, 8, colour(STATES[data.state[frame][body]]));
    pen.fillStyle = colour("panel");
    pen.fillRect(LEFT, top + 9, width - LEFT - 6, 18);
    for (let frame = 0; frame < frames; frame++) {
      const high = 18 * data.confidence[frame][body];
      bar(frame, frame + 1, top + 27 - high, high, colour(BODIES[body]) + "99");
    }
    for (const it of data.findings.filter((it) => it.bodies.includes(body)))
      bar(it.first, it.stop, top + 29, 7, colour(`found-${it.done.replace(" ", "-")}`));
  });
  const last = HEAD + 3 * ROW;
  label("image", last + 10);
  for (let frame = 0; frame < frames; frame++) {
    if (data.blurred[frame]) bar(frame, frame + 1, last, 10, colour("blurred"));
    if (data.cut_after[frame]) bar(frame + 1, frame + 1, last, 10, colour("cut"));
  }
  pen.fillStyle = colour("muted");
  const every = [1, 2, 5, 10, 30, 60].find((s) => s * data.fps * unit > 40) || 120;
  for (let s = 0; s * data.fps < frames; s += every) pen.fillText(`${s} s`, x(s * data.fps), last + 26);
  pen.fillStyle = colour("ink");
  pen.fillRect(x(now + 0.5) - 0.75, 0, 1.5, last + 14);
}

function scrub(event) {
  const box = timeline.getBoundingClientRect();
  seek(Math.max(0, Math.min(frames - 1, Math.floor((event.clientX - box.left - LEFT) / (box.width - LEFT - 6) * frames))));
}
timeline.addEventListener("pointerdown", (event) => { video.pause(); timeline.setPointerCapture(event.pointerId); scrub(event); });
timeline.addEventListener("pointermove", (event) => { if (event.buttons) scrub(event); });
space.addEventListener("pointerdown", (event) => space.setPointerCapture(event.pointerId));
space.addEventListener("pointermove", (event) => {
  if (!event.buttons) return;
  if (event.shiftKey) { orbit.shift[0] += event.movementX; orbit.shift[1] += event.movementY; }
  else {
    orbit.turn -= 0.008 * event.movementX;
    orbit.rise = Math.max(-1.5, Math.min(1.5, orbit.rise + 0.008 * event.movementY));
  }
  drawSpace();
});
space.addEventListener("wheel", (event) => {
  event.preventDefault();
  orbit.distance *= Math.exp(0.001 * event.deltaY);
  drawSpace();
}, {passive: false});
element("raw").addEventListener("change", drawSpace);
element("play").addEventListener("click", () => {
  if (!video.paused) return video.pause();
  if (now === frames - 1) seek(0);
  video.play();
});
element("speed").addEventListener("change", (event) => { video.playbackRate = Number(event.target.value); });
for (const name of ["play", "pause"]) video.addEventListener(name, () => { element("play").textContent = video.paused ? "play" : "pause"; });
video.addEventListener("play", () => requestAnimationFrame(follow));
video.addEventListener("error", () => { element("clock").textContent = "this browser cannot play H.264 video"; });
document.addEventListener("keydown", (event) => {
  if (!["ArrowLeft", "ArrowRight", " "].includes(event.key) || event.target.tagName === "SELECT") return;
  event.preventDefault();
  if (event.key === " ") return element("play").click();
  video.pause();
  seek(Math.max(0, Math.min(frames - 1, now + (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1))));
});
document.querySelectorAll("tr[data-frame]").forEach((row) => row.addEventListener("click", () => seek(Number(row.dataset.frame))));
window.addEventListener("resize", () => show(now));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { palette.clear(); show(now); });
frameAll();
video.addEventListener("loadedmetadata", () => seek(0));
show(0);
