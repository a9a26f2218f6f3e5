// An answer other than 200: for programs a code such as POLL_TIMEOUT, for people a message.
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}
