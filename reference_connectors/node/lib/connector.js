// One instance: what its messages ask for, and what it tells by itself.
import { checkCommand, parse, parseCommand, Refusal, SeenIds } from './command.js';
import { Device } from './device.js';
import { Leftovers } from './leftovers.js';
import { log } from './log.js';
import { isName } from './names.js';
import { checkValues } from '../strip/values.js';

export class Connector {
  filters = ['devices/+/cmd', 'devices/+/get', 'groups/+/cmd', 'meta/request/+'];
  #environment;
  #broker;
  #devices;
  #groups;
  #leftovers;
  #seen = new SeenIds();
  #started = performance.now();

  constructor({ environment, instance, strip, broker }) {
    this.#environment = environment;
    this.#broker = broker;
    const retained = { qos: environment.qos, retain: environment.retain };
    const shared = { strip, broker, interval: instance.interval, retained };
    this.#devices = new Map(instance.devices.map((device) => [device.id, new Device(device, shared)]));
    this.#groups = new Map(instance.groups.map((group) => [group.id, group]));
    this.#leftovers = new Leftovers(broker, (id) => this.#devices.has(id));
  }

  get #enabled() {
    return [...this.#devices.values()].filter((device) => device.enabled);
  }

  start(stopping) {
    for (const device of this.#enabled) device.start(stopping);
  }

  onOnline() {
    this.#leftovers.look();
    for (const device of this.#enabled) device.announce();
  }

  /** Somebody has pressed a button at the strip, or it has switched off by itself (I2M-EVT-02). */
  onEvent({ outlet, event, data }) {
    for (const device of this.#enabled.filter((candidate) => candidate.outlet === outlet)) {
      this.#broker.publish(`devices/${device.id}/events`, { event, data });
      device.refresh();
    }
  }

  onMessage(levels, payload, retained) {
    const [kind, name, what] = levels;
    if (levels.length > 2 && what === 'state') {
      this.#leftovers.take(levels, payload, retained);
      return;
    }
    // What is retained was meant for an earlier time (I2M-CMD-13).
    if (retained || levels.length !== 3 || !isName(name) || !isName(what)) return;
    log.debug(`${payload.length} bytes have arrived on ${levels.join('/')}`);
    if (kind === 'devices' && what === 'get') this.#get(name, payload);
    else if (kind === 'meta') this.#answerMeta(what);
    else if (kind === 'devices') this.#obey(`devices/${name}`, payload, (order) => this.#commandDevice(name, order), {});
    else if (kind === 'groups') {
      this.#obey(`groups/${name}`, payload, (order) => this.#commandGroup(name, order), { results: {} });
    }
  }

  // ---------------------------------------------------------------- commands
  /** Carry out a command, and answer it where it has an id; `blank` is what every answer to it has. */
  async #obey(target, payload, carryOut, blank) {
    let id = null;
    let answer;
    try {
      const command = parseCommand(payload);
      id = command.id;
      if (id !== null && this.#seen.repeats(`${target} ${id}`)) return;
      answer = await carryOut(checkCommand(command));
      if (answer === undefined) return;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      log.warning(`a command for ${target} is refused: ${error.message}`);
      answer = { ...blank, status: 'error', error };
    }
    if (id !== null) this.#broker.publish(`${target}/cmd/response`, { cmd_id: id, ...answer });
  }

  async #commandDevice(name, { values, limit }) {
    const device = this.#devices.get(name);
    if (!device) throw new Refusal('unknown_device', 'no such device is configured');
    if (!device.enabled) throw new Refusal('device_disabled', `${name} is disabled`);
    checkValues(values);
    const result = await device.command(values, limit);
    return result && { status: 'success', result };
  }

  /** All members at the same time; those that are unknown or disabled are skipped (I2M-GROUP-02, I2M-GROUP-04). */
  async #commandGroup(name, order) {
    const group = this.#groups.get(name);
    if (!group) throw new Refusal('unknown_group', 'no such group is configured');
    const members = group.devices.filter((id) => this.#devices.get(id)?.enabled);
    const answers = await Promise.all(members.map((id) => this.#commandMember(id, order)));
    const failed = answers.filter(({ status }) => status === 'error').length;
    const status = failed === 0 ? 'success' : failed === members.length ? 'error' : 'partial';
    return { status, results: Object.fromEntries(members.map((id, index) => [id, answers[index]])) };
  }

  async #commandMember(id, order) {
    try {
      return (await this.#commandDevice(id, order)) ?? { status: 'error' };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { status: 'error', error };
    }
  }

  // ---------------------------------------------------------------- questions
  #get(name, payload) {
    const device = this.#devices.get(name);
    if (!device?.enabled) return;
    try {
      const wanted = (payload.length ? parse(payload) : {})?.properties ?? null;
      if (wanted === null) device.refresh();
      else if (Array.isArray(wanted)) device.refreshPart(new Set(wanted));
      else throw new Refusal('invalid_command', 'properties must be a list of names');
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      log.warning(`a get for ${name} is ignored: ${error.message}`);
    }
  }

  #answerMeta(question) {
    if (question === 'info') {
      const body = {
        instance_id: this.#environment.instance,
        connector_type: this.#environment.connectorType,
        devices_count: this.#devices.size,
        groups_count: this.#groups.size,
        uptime: Math.round(performance.now() - this.#started) / 1000,
      };
      this.#broker.publish('meta/info', body, { keep: false });
    } else if (question === 'devices_list') {
      const list = [...this.#devices.values()].map(({ id, model, enabled, online }) => ({
        device_id: id,
        global_id: `${this.#environment.instance}_${id}`,
        model,
        enabled,
        online,
      }));
      this.#broker.publish('meta/devices_list', list, { keep: false, stamped: false });
    }
  }
}
