// A motion sensor that is polled: what it said last, how it has done so far, and what is wrong with it now.

import { ask } from "./detector.js";
import { log } from "./log.js";

const OVERDUE = 1.5; // poll intervals after which the last reading is not the present any more

export class Sensor {
  #id;
  #url;
  #interval;
  #timeout;
  #timer;
  #poll = Promise.resolve();
  #reading = null;
  #readAt = -Infinity;
  #error = null;
  #stats = { polls: 0, failures: 0, consecutive_failures: 0, last_success: null };

  /**
   * @param {{sensor_id: string, url: string}} sensor Which, and where.
   * @param {{interval: number, timeout: number}} times Milliseconds between two polls, and for each.
   */
  constructor({ sensor_id, url }, { interval, timeout }) {
    this.#id = sensor_id;
    this.#url = url;
    this.#interval = interval;
    this.#timeout = timeout;
  }

  get id() {
    return this.#id;
  }

  /** What is wrong, or null. */
  get error() {
    const error = this.#error;
    return error && { sensor_id: this.#id, error: error.code, message: error.message, timestamp: error.timestamp };
  }

  /** Poll now, and again and again. */
  start() {
    const began = performance.now();
    this.#poll = this.#once();
    this.#poll.then(() => {
      this.#timer = setTimeout(() => this.start(), Math.max(0, began + this.#interval - performance.now()));
    });
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** The last reading, unless a poll that is under way may know better; throws what the last poll has thrown. */
  async reading() {
    if (performance.now() - this.#readAt > OVERDUE * this.#interval) await this.#poll;
    if (this.#error) throw this.#error;
    return this.#reading;
  }

  health() {
    const { polls, failures } = this.#stats;
    const success_rate = polls ? Number((1 - failures / polls).toFixed(4)) : null;
    return { sensor_id: this.#id, status: this.#error ? "offline" : "online", ...this.#stats, success_rate };
  }

  async #once() {
    this.#stats.polls += 1;
    try {
      const { motion, battery, rssi } = await ask(this.#url, this.#timeout);
      const timestamp = new Date().toISOString();
      this.#reading = {
        sensor_id: this.#id,
        type: "motion",
        motion_detected: motion,
        battery_level: battery,
        signal_strength: rssi,
        timestamp,
      };
      this.#readAt = performance.now();
      this.#error = null;
      this.#stats.consecutive_failures = 0;
      this.#stats.last_success = timestamp;
    } catch (error) {
      if (!this.#error) log("WARNING", `${this.#id}: ${error.code}: ${error.message}`);
      this.#error = Object.assign(error, { timestamp: new Date().toISOString() });
      this.#stats.failures += 1;
      this.#stats.consecutive_failures += 1;
    }
  }
}
