// A simulated power strip with three outlets, and what makes it misbehave.
//
//   node simulator/main.js serve --port 7080 [--faults 0.05]
//   node simulator/main.js press --port 7080 desk
//
// Every question but those of this file carries `Authorization: Bearer <token>`, and the token is `open-sesame`.
//
//   GET /strip                    {"model": "…", "outlets": ["desk", …]}
//   GET /outlets/desk             {"on": true, "limit": 2000, "watts": 61.2, "volts": 230.4, "kwh": 0.0132}
//   PATCH /outlets/desk           takes some of `on` and `limit`, and answers as GET does
//   GET /events                   server-sent events: data: {"outlet": "desk", "event": "button", "data": {"on": false}}
//   POST /simulator/fail/desk     the outlet stops answering; also recover, press, slow/desk/4, and fault/desk/KIND
import http from 'node:http';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

import { FAULTS, misbehave } from './faults.js';

const HOST = '127.0.0.1';
const TOKEN = 'open-sesame';
const KEEP_ALIVE = 10_000;
const LONGEST_BODY = 4_096;

/** An outlet with something plugged into it. */
class Outlet {
  failing = false;
  delay = 0;
  fault = null;
  #on = true;
  #limit = 2000;
  #load;
  #joules = 0;
  #since = performance.now();

  constructor(load) {
    this.#load = load;
  }

  get on() {
    return this.#on;
  }

  read() {
    const now = performance.now();
    const watts = this.#on ? this.#load * (1 + 0.03 * Math.sin(now / 5_000)) : 0;
    this.#joules += (watts * (now - this.#since)) / 1000;
    this.#since = now;
    const volts = 230 + 2 * Math.sin(now / 9_000);
    return {
      on: this.#on,
      limit: this.#limit,
      watts: rounded(watts, 1),
      volts: rounded(volts, 1),
      kwh: rounded(this.#joules / 3.6e6, 6),
    };
  }

  /** Take values; where more is drawn than allowed, switch off and return true. */
  write({ on = this.#on, limit = this.#limit }) {
    this.read();
    this.#on = on;
    this.#limit = limit;
    const tripped = this.#on && this.read().watts > this.#limit;
    if (tripped) this.#on = false;
    return tripped;
  }
}

const rounded = (value, digits) => Number(value.toFixed(digits));

export class SimulatedStrip {
  #outlets = new Map([['desk', new Outlet(60)], ['heater', new Outlet(450)], ['fridge', new Outlet(90)]]);
  #watchers = new Set();
  #share;
  #server = http.createServer((request, response) => this.#serve(request, response));

  /** `faults` is the share of the answers that go wrong by themselves. */
  constructor({ faults = 0 } = {}) {
    this.#share = faults;
  }

  /** Listen, and return the port. */
  async listen(port = 0) {
    await new Promise((resolve, reject) => this.#server.once('error', reject).listen(port, HOST, resolve));
    this.beating = setInterval(() => this.#tell(': still here\n\n'), KEEP_ALIVE).unref();
    return this.#server.address().port;
  }

  close() {
    clearInterval(this.beating);
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(request, response) {
    const [, place, ...words] = request.url.split('/').map(decodeURIComponent);
    try {
      if (place === 'simulator') this.#control(words, response);
      else if (request.headers.authorization !== `Bearer ${TOKEN}`) answer(response, 401, { error: 'who are you?' });
      else if (place === 'strip') answer(response, 200, { model: 'Simulated strip', outlets: [...this.#outlets.keys()] });
      else if (place === 'events') this.#watch(response);
      else if (place === 'outlets') await this.#outlet(words[0], request, response);
      else answer(response, 404, { error: 'there is no such place' });
    } catch (error) {
      answer(response, 400, { error: error.message });
    }
  }

  async #outlet(name, request, response) {
    const outlet = this.#outlets.get(name);
    if (!outlet) {
      answer(response, 404, { error: `there is no outlet ${name}` });
      return;
    }
    const text = await bodyOf(request);
    await sleep(outlet.delay);
    if (outlet.failing) {
      answer(response, 503, { error: `${name} does not answer the strip` });
      return;
    }
    const fault = outlet.fault ?? (Math.random() < this.#share ? FAULTS[Math.floor(Math.random() * FAULTS.length)] : null);
    if (fault !== null) {
      await misbehave(fault, response, outlet.read());
      return;
    }
    if (request.method === 'PATCH' && outlet.write(JSON.parse(text))) this.#event(name, 'overload', { on: false });
    answer(response, 200, outlet.read());
  }

  #control([verb, name, argument], response) {
    const outlet = this.#outlets.get(name);
    const verbs = {
      fail: () => (outlet.failing = true),
      recover: () => Object.assign(outlet, { failing: false, delay: 0, fault: null }),
      slow: () => (outlet.delay = 1000 * Number(argument ?? 4)),
      fault: () => (outlet.fault = argument),
      press: () => {
        outlet.write({ on: !outlet.on });
        this.#event(name, 'button', { on: outlet.on });
      },
    };
    if (!outlet || !Object.hasOwn(verbs, verb)) {
      answer(response, 404, { error: `the strip does not understand ${verb} ${name}` });
      return;
    }
    verbs[verb]();
    answer(response, 200, {});
  }

  #watch(response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': you are watching\n\n');
    this.#watchers.add(response);
    response.on('close', () => this.#watchers.delete(response));
  }

  #event(outlet, event, data) {
    this.#tell(`data: ${JSON.stringify({ outlet, event, data })}\n\n`);
  }

  #tell(text) {
    for (const watcher of this.#watchers) watcher.write(text);
  }
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > LONGEST_BODY) throw new Error('that is too much');
  }
  return text;
}

/** Tell a running strip something. */
async function tell(port, words) {
  const path = words.map(encodeURIComponent).join('/');
  const response = await fetch(`http://${HOST}:${port}/simulator/${path}`, { method: 'POST' });
  const { error } = await response.json();
  if (error) throw new Error(error);
}

async function main() {
  const options = { port: { type: 'string' }, faults: { type: 'string', default: '0' } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (!values.port || positionals.length === 0) {
    throw new Error('use: simulator/main.js serve|fail|recover|slow|fault|press --port PORT [OUTLET] [WHAT]');
  }
  if (positionals[0] !== 'serve') {
    await tell(values.port, positionals);
    return;
  }
  const port = await new SimulatedStrip({ faults: Number(values.faults) }).listen(Number(values.port));
  console.log(`the power strip listens on ${HOST}:${port}`);
}

if (import.meta.filename === process.argv[1]) {
  await main().catch((error) => {
    console.error(`simulator: ${error.cause?.code ?? error.code ?? error.message}`);
    process.exitCode = 1;
  });
}
