#!/usr/bin/env node
// Is there a power strip at this address, and does it take the token? Asked by the setup flow.
import { answer, ActionError } from './answer.js';
import { Strip, UnauthorizedError } from '../strip/client.js';

const PATIENCE = 3_000;

function checked({ host, port = 7080, token }) {
  if (typeof host !== 'string' || host === '') throw new ActionError('invalid_input', 'host must be an address');
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new ActionError('invalid_input', 'port must be a whole number from 1 to 65535');
  }
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new ActionError('invalid_input', 'token must be the text that the strip shows in its settings');
  }
  return { host, port, token, patience: PATIENCE };
}

await answer('validate', async (input) => {
  try {
    const { model, outlets } = await new Strip(checked(input)).identify();
    return { model, outlets: outlets.map((name) => ({ outlet: String(name) })) };
  } catch (error) {
    if (error instanceof ActionError) throw error;
    if (error instanceof UnauthorizedError) throw new ActionError('unauthorized', error.message);
    throw new ActionError(error.code, error.message, error.code === 'unreachable');
  }
});
