// What all action scripts share: one JSON object in on stdin, one out on stdout, and nothing else there (I2M-ACT).

/** A failure that the caller is told of. */
export class ActionError extends Error {
  constructor(code, message, retriable = false) {
    super(message);
    this.code = code;
    this.retriable = retriable;
  }
}

/** Answer one call of a tool; a failure that is handled ends with code 0. */
export async function answer(tool, run) {
  let said;
  try {
    said = { ok: true, result: await run(inputOf(tool, await stdin())) };
  } catch (error) {
    if (!(error instanceof ActionError)) throw error;
    said = { ok: false, error: { code: error.code, message: error.message, retriable: error.retriable } };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

async function stdin() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function inputOf(tool, bytes) {
  let request;
  try {
    request = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new ActionError('invalid_request', 'stdin must be one JSON object {tool, input}, and is no JSON');
  }
  if (!isObject(request) || !isObject(request.input)) {
    throw new ActionError('invalid_request', 'stdin must be one JSON object {tool, input}, and input an object');
  }
  if (request.tool !== tool) throw new ActionError('unknown_tool', `this script is the tool ${tool}`);
  return request.input;
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
