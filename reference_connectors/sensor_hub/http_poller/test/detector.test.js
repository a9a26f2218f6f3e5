// What the poller makes of detectors that misbehave. Run by `node --test`.

import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import { test } from "node:test";

import { ask } from "../detector.js";

const GOOD = JSON.stringify({ motion: true, battery: 90, rssi: -50, extra: "ignored" });

/** Serve one kind of answer for the length of a test, and return its address. */
async function detector(t, answer, make = http.createServer) {
  const server = make(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const sockets = new Set();
  server.on("connection", (socket) => sockets.add(socket));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

test("a good answer is taken, without what nobody has asked for", async (t) => {
  const url = await detector(t, (_, response) => response.end(GOOD));
  assert.deepEqual(await ask(url, 5000), { motion: true, battery: 90, rssi: -50 });
});

for (const [what, code, answer] of [
  ["status 500", "BAD_STATUS", (_, response) => response.writeHead(500).end(GOOD)],
  ["no content", "BAD_STATUS", (_, response) => response.writeHead(204).end()],
  ["half of the body", "UNREACHABLE", (_, response) => {
    response.writeHead(200, { "Content-Length": 100 });
    response.write("{", () => response.destroy());
  }],
  ["broken JSON", "BAD_ANSWER", (_, response) => response.end(GOOD.slice(0, 10))],
  ["null", "BAD_ANSWER", (_, response) => response.end("null")],
  ["another type", "BAD_ANSWER", (_, response) => response.end('{"motion": 1, "battery": 90, "rssi": -50}')],
  ["a number beyond all bounds", "BAD_ANSWER", (_, response) => response.end(GOOD.replace("90", "1e999"))],
  ["an answer without an end", "BAD_ANSWER", (_, response) => {
    const more = () => response.write(" ".repeat(10_000), more);
    more();
  }],
]) {
  test(`${what} is ${code}`, async (t) => {
    await assert.rejects(ask(await detector(t, answer), 5000), { code });
  });
}

test("a redirect is not followed", async (t) => {
  const asked = [];
  const url = await detector(t, (request, response) => {
    asked.push(request.url);
    response.writeHead(302, { Location: "/elsewhere" }).end();
  });
  await assert.rejects(ask(url, 5000), { code: "BAD_STATUS" });
  assert.deepEqual(asked, ["/"]);
});

for (const [what, answer] of [
  ["silence", () => {}],
  ["a body that comes drop by drop", (_, response) => {
    const timer = setInterval(() => response.write(" "), 20);
    response.on("close", () => clearInterval(timer));
  }],
]) {
  test(`${what} is given up in time`, async (t) => {
    const url = await detector(t, answer);
    const began = performance.now();
    await assert.rejects(ask(url, 200), { code: "POLL_TIMEOUT" });
    assert.ok(performance.now() - began < 4000);
  });
}

test("what speaks something else than HTTP is unreachable", async (t) => {
  const url = await detector(t, (socket) => socket.end("SSH-2.0-OpenSSH_9.6\r\n"), net.createServer);
  await assert.rejects(ask(url, 5000), { code: "UNREACHABLE" });
});

test("where nobody listens it is unreachable", async () => {
  await assert.rejects(ask("http://127.0.0.1:1/", 5000), { code: "UNREACHABLE" });
});
