// Speaks to the power strip: JSON over HTTP, and its events as a stream. Knows nothing of MQTT.
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

import { EventReader } from './events.js';

const ANSWER_WITHIN = 5_000;
const LONGEST_ANSWER = 65_536;
const WATCH_AGAIN = 1_000;
/** The strip sends a comment every 10 s, so that a dead connection is noticed. */
const SILENT_FOR = 30_000;

/** The strip did not do what it was asked; the message says why. */
export class StripError extends Error {
  constructor(message, code = 'device_error') {
    super(message);
    this.code = code;
  }
}

/** The strip does not take the token. */
export class UnauthorizedError extends StripError {}

export class Strip {
  #where;
  #headers;
  #agent = new http.Agent({ keepAlive: true });
  #patience;

  constructor({ host, port, token, patience = ANSWER_WITHIN }) {
    this.#where = { host, port };
    this.#headers = { authorization: `Bearer ${token}` };
    this.#patience = patience;
  }

  /** Return what the strip is: its model and the names of its outlets. */
  async identify(stopping) {
    const answer = await this.#ask('GET', '/strip', undefined, stopping);
    if (typeof answer.model !== 'string' || !Array.isArray(answer.outlets)) {
      throw new StripError(`what answers at ${this.#address} is no power strip`, 'not_a_strip');
    }
    return answer;
  }

  /** Return all values of an outlet. */
  read(outlet) {
    return this.#ask('GET', `/outlets/${encodeURIComponent(outlet)}`);
  }

  /** Let an outlet take values, and return what it has then. */
  write(outlet, values, signal) {
    return this.#ask('PATCH', `/outlets/${encodeURIComponent(outlet)}`, values, signal);
  }

  /** Call `onEvent` for each event until told to stop; polling reports it when the strip is away. */
  async watch(onEvent, stopping) {
    stopping.addEventListener('abort', () => this.#agent.destroy());
    while (!stopping.aborted) {
      await this.#follow(onEvent, stopping);
      await sleep(WATCH_AGAIN, undefined, { signal: stopping }).catch(() => {});
    }
  }

  get #address() {
    return `${this.#where.host}:${this.#where.port}`;
  }

  /** Ask one question; an answer that is late, too long, cut short, no JSON object, or no 200 is an error. */
  async #ask(method, path, body, signal, again = false) {
    const request = this.#request(method, path, { signal });
    const timer = setTimeout(() => request.destroy(this.#silent()), this.#patience);
    try {
      request.end(body === undefined ? undefined : JSON.stringify(body));
      const response = await answerTo(request);
      const text = await textOf(response);
      return this.#understood(response.statusCode, text);
    } catch (error) {
      if (error instanceof StripError) throw error;
      // A kept connection that the strip has closed meanwhile says nothing about the strip.
      if (request.reusedSocket && error.code === 'ECONNRESET' && !again) {
        return await this.#ask(method, path, body, signal, true);
      }
      throw new StripError(`the strip at ${this.#address} cannot be reached (${error.code ?? error.message})`, 'unreachable');
    } finally {
      clearTimeout(timer);
    }
  }

  #understood(status, text) {
    const answer = parsed(text);
    if (status === 401 || status === 403) {
      throw new UnauthorizedError(`the strip at ${this.#address} does not take the token`, 'unauthorized');
    }
    if (status !== 200) throw new StripError(answer?.error ?? `the strip answered with status ${status}`);
    if (answer === undefined) throw new StripError('the strip answered with something that is no JSON object');
    return answer;
  }

  #silent() {
    return new StripError(`the strip at ${this.#address} does not answer within ${this.#patience / 1000} s`, 'unreachable');
  }

  #request(method, path, options) {
    return http.request({ ...this.#where, method, path, agent: this.#agent, headers: this.#headers, ...options });
  }

  async #follow(onEvent, signal) {
    try {
      const request = this.#request('GET', '/events', { signal, timeout: SILENT_FOR });
      request.on('timeout', () => request.destroy());
      request.end();
      const response = await answerTo(request);
      if (response.statusCode !== 200) {
        response.destroy();
        return;
      }
      const reader = new EventReader(onEvent);
      for await (const chunk of response.setEncoding('utf8')) reader.feed(chunk);
    } catch {
      // The connection has ended, in whatever way: it is made again.
    }
  }
}

function answerTo(request) {
  return new Promise((resolve, reject) => request.once('response', resolve).on('error', reject));
}

async function textOf(response) {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk;
    if (text.length > LONGEST_ANSWER) throw new StripError('the strip answered with more than an outlet can have to say');
  }
  return text;
}

function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
