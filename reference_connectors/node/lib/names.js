// What may be one level of a topic.

/** Whether a value is one level of a topic: not empty, without /, +, # and control characters (I2M-PUB-04). */
export function isName(value) {
  return typeof value === 'string' && value !== '' && !/[/+#\x00-\x1f\x7f-\x9f]/.test(value);
}
