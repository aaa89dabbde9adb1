// Signatures as backends make them. Browsers have HMAC and no MD5, which the API asks for.

const encoder = new TextEncoder();

const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
const SINES = Array.from({ length: 64 }, (_, n) => Math.floor(Math.abs(Math.sin(n + 1)) * 2 ** 32) | 0);

// RFC 1321, in hex.
export function md5(text) {
  const bytes = encoder.encode(text);
  const padded = new Uint8Array(((bytes.length + 8) >> 6 << 6) + 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const words = new DataView(padded.buffer);
  words.setUint32(padded.length - 8, bytes.length * 8, true);
  const state = [0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476];
  for (let at = 0; at < padded.length; at += 64) {
    let [a, b, c, d] = state;
    for (let n = 0; n < 64; n++) {
      const [mix, word] = mixed(n, b, c, d);
      const sum = (a + mix + SINES[n] + words.getUint32(at + 4 * word, true)) | 0;
      const shift = SHIFTS[(n >> 4) * 4 + (n % 4)];
      [a, d, c, b] = [d, c, b, (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0];
    }
    [a, b, c, d].forEach((value, n) => (state[n] = (state[n] + value) | 0));
  }
  const out = new DataView(new ArrayBuffer(16));
  state.forEach((value, n) => out.setInt32(4 * n, value, true));
  return hex(out.buffer);
}

function mixed(n, b, c, d) {
  if (n < 16) return [(b & c) | (~b & d), n];
  if (n < 32) return [(d & b) | (~d & c), (5 * n + 1) % 16];
  if (n < 48) return [b ^ c ^ d, (3 * n + 5) % 16];
  return [c ^ (b | ~d), (7 * n) % 16];
}

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// HMAC-SHA256 in hex.
export async function hmac(secret, text) {
  if (!crypto.subtle) throw new Error("Browsers sign over https and on this machine only: open this page at 127.0.0.1.");
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(await crypto.subtle.sign("HMAC", key, encoder.encode(text)));
}

// The URL of a signed POST; `app` has id, key and secret.
export async function signedUrl(app, path, body) {
  const time = Math.floor(Date.now() / 1000);
  const query = `auth_key=${encodeURIComponent(app.key)}&auth_timestamp=${time}&auth_version=1.0&body_md5=${md5(body)}`;
  return `${path}?${query}&auth_signature=${await hmac(app.secret, `POST\n${path}\n${query}`)}`;
}

// What a backend answers when a client asks to join a private or a presence channel.
export async function channelAuth(app, socketId, channel, member) {
  if (!channel.startsWith("presence-")) {
    return { auth: `${app.key}:${await hmac(app.secret, `${socketId}:${channel}`)}` };
  }
  const data = JSON.stringify(member);
  return { auth: `${app.key}:${await hmac(app.secret, `${socketId}:${channel}:${data}`)}`, channel_data: data };
}
