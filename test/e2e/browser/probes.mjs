// Clients that no shell command replaces, for tests on cloud: node probes.mjs WHAT…
import dgram from 'node:dgram';
import net from 'node:net';

const probes = {
  /** Sends hello twice over one WebSocket and prints the answers. */
  async websocket(url) {
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) =>
      Object.assign(socket, { onopen: resolve, onerror: () => reject(new Error('not open')) }),
    );
    const said = [];
    for (let i = 0; i < 2; i++) {
      const answer = new Promise((resolve) => Object.assign(socket, { onmessage: ({ data }) => resolve(data) }));
      socket.send('hello');
      said.push(await answer);
    }
    socket.close();
    return said.join(', ');
  },

  /** Sends one datagram through a SOCKS5 proxy, which resolves the name. Prints the answer. */
  async datagram(proxy, host, port, payload) {
    const [address, proxyPort] = proxy.split(':');
    const control = net.connect(Number(proxyPort), address);
    const reply = () => new Promise((resolve, reject) => control.once('data', resolve).once('error', reject));
    control.write(Buffer.from([5, 1, 0]));
    await reply();
    control.write(Buffer.from([5, 3, 0, 1, 0, 0, 0, 0, 0, 0]));
    const bound = await reply();
    if (bound[1] !== 0) throw new Error(`the proxy says ${bound[1]}`);
    const socket = dgram.createSocket('udp4');
    const answer = new Promise((resolve) => socket.once('message', resolve));
    const name = Buffer.from(host);
    const head = Buffer.from([0, 0, 0, 3, name.length, ...name, Number(port) >> 8, Number(port) & 255]);
    socket.send(
      Buffer.concat([head, Buffer.from(payload, 'latin1')]),
      bound.readUInt16BE(8),
      bound.subarray(4, 8).join('.'),
    );
    const message = await answer;
    socket.close();
    control.destroy();
    return message.subarray(message[3] === 3 ? 7 + message[4] : message[3] === 1 ? 10 : 22).toString('latin1');
  },

  /** Asks a name server, through a SOCKS5 proxy, for the address of a name. */
  async lookup(proxy, server, name) {
    const labels = name
      .split('.')
      .map((label) => String.fromCharCode(label.length) + label)
      .join('');
    const answer = await probes.datagram(proxy, server, 53, `\x12\x34\x01\0\0\x01\0\0\0\0\0\0${labels}\0\0\x01\0\x01`);
    return [...Buffer.from(answer, 'latin1').subarray(-4)].join('.');
  },
};

const [what, ...args] = process.argv.slice(2);
console.log(await probes[what](...args));
