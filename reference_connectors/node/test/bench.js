// A connector with a simulated strip, and a record in the place of the broker.
import { Connector } from '../lib/connector.js';
import { Strip } from '../strip/client.js';
import { SimulatedStrip } from '../simulator/main.js';
import { Recorder } from './recorder.js';

const DEVICES = ['desk', 'heater'].map((id) => ({ id, outlet: id, model: 'outlet', enabled: true }));

export async function bench(t, { interval = 50, patience = 300 } = {}) {
  const simulated = new SimulatedStrip();
  const port = await simulated.listen();
  const stop = new AbortController();
  const strip = new Strip({ host: '127.0.0.1', port, token: 'open-sesame', patience });
  const broker = new Recorder();
  const environment = { instance: 'strip', connectorType: 'node', qos: 1, retain: true };
  const instance = { interval, devices: DEVICES, groups: [{ id: 'work', devices: ['desk', 'heater'] }] };
  const connector = new Connector({ environment, instance, strip, broker });
  const watching = strip.watch((event) => connector.onEvent(event), stop.signal);
  connector.start(stop.signal);
  t.after(async () => {
    stop.abort();
    await watching;
    simulated.close();
  });
  const control = async (...words) => {
    const response = await fetch(`http://127.0.0.1:${port}/simulator/${words.join('/')}`, { method: 'POST' });
    await response.arrayBuffer();
  };
  const send = (topic, body) => connector.onMessage(topic.split('/'), Buffer.from(JSON.stringify(body)), false);
  return { broker, control, send, strip, port };
}
