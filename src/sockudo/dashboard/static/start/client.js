// A client of the Pusher protocol, as small as it can be: connects, connects again, subscribes, and says what arrives.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

export class Client {
  // `authorize(socketId, channel)` returns what a protected channel needs. `told` has the handlers state(name, detail),
  // channels(map of name to whether it is joined), event(channel, name, data) and problem(text).
  constructor(url, authorize, told) {
    this.channels = new Map();
    this.socketId = "";
    this._url = url;
    this._authorize = authorize;
    this._told = told;
    this._socket = null;
    this._asked = [];
    this._pause = FIRST_PAUSE_MS;
    this._timer = 0;
  }

  get wanted() {
    return this._socket !== null || this._timer !== 0;
  }

  connect() {
    clearTimeout(this._timer);
    this._timer = 0;
    const socket = (this._socket = new WebSocket(this._url));
    this._told.state("connecting");
    socket.addEventListener("message", (message) => this._take(socket, message.data));
    socket.addEventListener("close", (close) => this._closed(socket, close));
  }

  disconnect() {
    clearTimeout(this._timer);
    this._timer = 0;
    const socket = this._socket;
    this._socket = null;
    socket?.close(1000);
    this._left("closed");
  }

  subscribe(channel) {
    if (this.channels.has(channel)) return;
    this.channels.set(channel, false);
    this._told.channels(this.channels);
    if (this.socketId) this._join(channel);
  }

  unsubscribe(channel) {
    if (this.channels.get(channel)) this._send("pusher:unsubscribe", { channel });
    this.channels.delete(channel);
    this._told.channels(this.channels);
  }

  _left(state, detail) {
    this.socketId = "";
    this._asked = [];
    for (const channel of this.channels.keys()) this.channels.set(channel, false);
    this._told.state(state, detail);
    this._told.channels(this.channels);
  }

  _closed(socket, close) {
    if (socket !== this._socket) return;
    this._socket = null;
    const reason = close.code === 1006 ? "the server cannot be reached" : `${close.code} ${close.reason}`.trim();
    // 4000 to 4099: the server does not want this client again as it is.
    if (close.code >= 4000 && close.code < 4100) {
      this._left("closed", reason);
      return;
    }
    this._left("waiting", reason);
    this._timer = setTimeout(() => this.connect(), this._pause);
    this._pause = Math.min(2 * this._pause, LONGEST_PAUSE_MS);
  }

  _send(event, data) {
    this._socket.send(JSON.stringify({ event, data }));
  }

  async _join(channel) {
    const { socketId } = this;
    try {
      const needed = /^(private|presence)-/.test(channel) ? await this._authorize(socketId, channel) : {};
      // Meanwhile the connection may be another one, or the channel not wanted any more.
      if (socketId !== this.socketId || !this.channels.has(channel)) return;
      this._asked.push(channel);
      this._send("pusher:subscribe", { channel, ...needed });
    } catch (problem) {
      this._drop(channel, problem.message);
    }
  }

  _answered(channel) {
    this._asked = this._asked.filter((each) => each !== channel);
  }

  _drop(channel, text) {
    this._answered(channel);
    this.channels.delete(channel);
    this._told.channels(this.channels);
    this._told.problem(text);
  }

  _take(socket, text) {
    if (socket !== this._socket) return;
    const { event, channel, data } = JSON.parse(text);
    const decoded = () => (typeof data === "string" ? JSON.parse(data || "{}") : (data ?? {}));
    switch (event) {
      case "pusher:connection_established":
        this.socketId = decoded().socket_id;
        this._pause = FIRST_PAUSE_MS;
        this._told.state("connected", this.socketId);
        for (const each of this.channels.keys()) this._join(each);
        break;
      case "pusher:ping":
        this._send("pusher:pong", {});
        break;
      case "pusher:error":
        // An error names no channel, but the server answers in the order in which it was asked.
        this._drop(this._asked[0], [decoded().code, decoded().message].filter(Boolean).join(" "));
        break;
      case "pusher:subscription_error":
        this._drop(channel, `${channel}: ${decoded().error ?? "refused"}`);
        break;
      case "pusher_internal:subscription_succeeded":
        this._answered(channel);
        if (!this.channels.has(channel)) break;
        this.channels.set(channel, true);
        this._told.channels(this.channels);
        break;
      default:
        if (channel) this._told.event(channel, event, data);
    }
  }
}
