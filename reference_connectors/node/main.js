// A power strip with switchable outlets on MQTT: reads the settings, starts the connector, and stops it in order.
import { Broker } from './lib/broker.js';
import { Connector } from './lib/connector.js';
import { readEnvironment, readSecrets, SettingsError } from './lib/environment.js';
import { reportHealth } from './lib/health.js';
import { readInstance } from './lib/instance.js';
import { log } from './lib/log.js';
import { Strip, UnauthorizedError } from './strip/client.js';

async function main(stopping) {
  const environment = readEnvironment(process.env);
  log.setLevel(environment.logLevel);
  const instance = readInstance(environment.instanceFile, readSecrets(environment, '_creds'));
  const strip = new Strip(instance.connection);
  const broker = new Broker(environment);
  const connector = new Connector({ environment, instance, strip, broker });

  await greet(strip, stopping);
  const watching = strip.watch((event) => connector.onEvent(event), stopping);
  connector.start(stopping);
  reportHealth(environment.healthFile, broker, stopping);
  await broker.run(connector, stopping);
  await watching;
}

/** A wrong token stays wrong: then the process ends. A strip that is away may come back: its devices are retried. */
async function greet(strip, stopping) {
  try {
    const { model } = await strip.identify(stopping);
    log.info(`the strip is a ${model}`);
  } catch (error) {
    if (error instanceof UnauthorizedError) throw new SettingsError(`${error.message}: correct connection.token`);
    if (!stopping.aborted) log.warning(`${error.message}; trying again`);
  }
}

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => stop.abort());
try {
  await main(stop.signal);
  process.exit(0);
} catch (error) {
  // What a person can mend is a sentence; anything else is a bug of ours, and its stack is wanted.
  log.error(error instanceof SettingsError ? error.message : error.stack);
  process.exit(1);
}
