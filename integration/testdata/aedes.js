// This program is a broker for one test. It runs while its standard input is open. Its
// arguments are the user, the password and the files of a certificate and its key. It
// prints the ports on which it listens.
const { createWebSocketStream, WebSocketServer } = require('ws')
const { readFileSync } = require('fs')
const http = require('http')
const https = require('https')
const net = require('net')
const tls = require('tls')

const [user, password, cert, key] = process.argv.slice(2)

process.stdin.on('end', () => process.exit())
process.stdin.resume()

const listen = (server) => new Promise((resolve) => {
  server.listen(0, '127.0.0.1', () => resolve(server.address().port))
})

async function main () {
  const { Aedes } = await import(require.resolve('aedes')) // an ES module, which Node.js 18 can't require
  const broker = await Aedes.createBroker({
    authenticate: (client, name, secret, done) => {
      done(null, !user || (name === user && String(secret) === password))
    }
  })
  const overWeb = (server) => {
    const sockets = new WebSocketServer({ server, path: '/mqtt', handleProtocols: () => 'mqtt' })
    sockets.on('connection', (socket, request) => broker.handle(createWebSocketStream(socket), request))
    return server
  }
  const ports = { tcp: await listen(net.createServer(broker.handle)), ws: await listen(overWeb(http.createServer())) }
  if (cert) {
    const secure = { cert: readFileSync(cert), key: readFileSync(key) }
    ports.tls = await listen(tls.createServer(secure, broker.handle))
    ports.wss = await listen(overWeb(https.createServer(secure)))
  }
  console.log(JSON.stringify(ports))
}

main()
