// The connection to the broker. Each connection is a client of its own that never reconnects: nothing of an old one,
// such as a half-sent `online`, can reach into the next. What must survive is in the outbox.
import mqtt from 'mqtt';
import { setTimeout as sleep } from 'node:timers/promises';

import { log } from './log.js';
import { Outbox } from './outbox.js';

const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 5_000;
const CONNECT_WITHIN = 10_000;
const FAREWELL = 3_000;
/** Messages that may be under way at once: a slow broker must not make the socket's buffer grow without end. */
const WINDOW = 100;
const REFUSED = 128;

export class Broker {
  #environment;
  #outbox = new Outbox();
  #client = null;
  #online = false;
  #underWay = 0;

  constructor(environment) {
    this.#environment = environment;
  }

  get online() {
    return this.#online;
  }

  topic(suffix) {
    return `${this.#environment.root}/${suffix}`;
  }

  /**
   * Publish a JSON value; an object gets the time at which it is sent (I2M-PUB-02, I2M-PUB-03).
   * Where the broker is away it is sent later, unless it is not worth keeping; where the broker is slow, of messages
   * that are the latest of their topic only the last one is sent, `with` what belongs to it.
   */
  publish(suffix, value, { qos = 1, retain = false, keep = true, latest = false, stamped = true, ...more } = {}) {
    const message = { topic: this.topic(suffix), value, qos, retain, keep, latest, stamped, sent: false, ...more };
    if (keep || this.#online) {
      this.#outbox.add(message);
      this.#send();
    }
    return message;
  }

  /** Clear what the broker keeps for a topic. */
  clear(suffix) {
    if (this.#online) this.#client.publish(this.topic(suffix), '', { qos: 1, retain: true });
  }

  /** Listen for a while to topics beyond the required ones. */
  listen(suffixes) {
    if (this.#online) this.#client.subscribe(suffixes.map((suffix) => this.topic(suffix)), { qos: 0 });
  }

  unlisten(suffixes) {
    if (this.#online) this.#client.unsubscribe(suffixes.map((suffix) => this.topic(suffix)));
  }

  /**
   * Connect again and again until told to stop; attempts are a second apart, and later more (I2M-LIFE-03, I2M-LIFE-04).
   * The listener has `filters`, `onMessage(levels, payload, retained)` and `onOnline()`.
   */
  async run(listener, stopping) {
    let pause = FIRST_PAUSE;
    while (!stopping.aborted) {
      const wasOnline = await this.#session(listener, stopping);
      if (stopping.aborted) return;
      pause = wasOnline ? FIRST_PAUSE : Math.min(pause * 2, LONGEST_PAUSE);
      // Many connectors may have lost the same broker: they must not all come back in the same moment.
      await sleep(pause * (1 + Math.random() / 4), undefined, { signal: stopping }).catch(() => {});
    }
  }

  /** One connection, from CONNECT to its end; returns whether it was online. */
  async #session(listener, stopping) {
    const client = mqtt.connect(this.#options());
    const closed = new Promise((resolve) => client.once('close', resolve));
    const leave = () => (this.#online ? this.#leave(client) : client.end(true));
    stopping.addEventListener('abort', leave, { once: true });
    let wasOnline = false;
    client.on('error', (error) => {
      log.error(`broker ${this.#environment.host}:${this.#environment.port}: ${reason(error)}`);
      client.end(true);
    });
    client.on('message', (topic, payload, { retain }) => this.#receive(listener, topic, payload, retain));
    client.once('connect', async () => {
      wasOnline = await this.#goOnline(client, listener);
      if (!wasOnline) client.end(true);
    });
    await closed;
    stopping.removeEventListener('abort', leave);
    if (this.#online && !stopping.aborted) log.warning('the connection to the broker is lost');
    this.#online = false;
    this.#underWay = 0;
    this.#outbox.end();
    return wasOnline;
  }

  #options() {
    const { host, port, tls, clientId, keepalive, username, password } = this.#environment;
    return {
      ...(tls ?? {}),
      protocol: tls ? 'mqtts' : 'mqtt',
      host,
      port,
      clientId,
      keepalive,
      username,
      password,
      clean: true,
      protocolVersion: 4,
      connectTimeout: CONNECT_WITHIN,
      reconnectPeriod: 0,
      resubscribe: false,
      // Otherwise what we publish puts off the ping by which a half-open connection is noticed (I2M-STATUS-09).
      reschedulePings: false,
      will: { topic: this.topic('status'), payload: 'offline', qos: 1, retain: true },
    };
  }

  /** Subscribe, and only then say `online` and all that was not said yet (I2M-STATUS-03, I2M-SUB-06). */
  async #goOnline(client, listener) {
    try {
      const granted = await client.subscribeAsync(listener.filters.map((suffix) => this.topic(suffix)), { qos: 1 });
      if (granted.some(({ qos }) => qos === REFUSED)) throw new Error('a subscription is refused: allow all topics of the instance');
      // Nothing of our own may come before it; that it has arrived is not waited for.
      client.publish(this.topic('status'), 'online', { qos: 1, retain: true });
    } catch (error) {
      log.error(`broker: ${error.message}`);
      return false;
    }
    this.#client = client;
    this.#online = true;
    log.info(`online: ${this.#environment.root}`);
    this.#send();
    listener.onOnline();
    return true;
  }

  /** Send what is waiting, as far as there is room for it. */
  #send() {
    if (!this.#online) return;
    for (const message of this.#outbox.unsent()) {
      if (this.#underWay >= WINDOW) return;
      message.sent = true;
      this.#underWay += 1;
      this.#hand(message, this.#client);
    }
  }

  #hand(message, client) {
    const { topic, value, qos, retain, stamped } = message;
    log.debug(`publishing on ${topic}`);
    const text = JSON.stringify(stamped ? { timestamp: new Date().toISOString(), ...value } : value);
    client.publish(topic, text, { qos, retain }, (error) => {
      // An error means that this connection has ended, and with it what was under way.
      if (error || client !== this.#client) return;
      this.#underWay -= 1;
      this.#outbox.remove(message);
      this.#send();
    });
  }

  #receive(listener, topic, payload, retained) {
    const start = this.topic('');
    if (topic.startsWith(start)) listener.onMessage(topic.slice(start.length).split('/'), payload, retained);
  }

  /** Say `offline`, wait until the broker has it, and disconnect in order (I2M-STATUS-05). */
  async #leave(client) {
    const over = setTimeout(() => client.end(true), FAREWELL);
    try {
      await client.publishAsync(this.topic('status'), 'offline', { qos: 1, retain: true });
      await client.endAsync();
    } catch (error) {
      log.warning(`offline was not said: ${error.message}`);
      client.end(true);
    } finally {
      clearTimeout(over);
    }
  }
}

/** What a person can do something about; mqtt.js gives the code of a CONNACK (I2M-LIFE-04). */
function reason(error) {
  if (error.code === 4 || error.code === 5) {
    return 'the credentials are refused (not authorized): see MQTT_USERNAME and MQTT_PASSWORD';
  }
  return error.message || error.code;
}
