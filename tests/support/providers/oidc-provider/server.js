// An OpenID provider for tests: the strictest implementation of RFC 7591 and 7592.
// It prints its URL when it listens. `node server.js [initial access token] [port]`
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const initialAccessToken = process.argv[2] ?? false; // false: anyone may register
const server = createServer((request, response) => handle(request, response));
let handle;

server.listen(Number(process.argv[3] ?? 0), '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(url, {
    cookies: { keys: ['test'] },
    features: {
      registration: { enabled: true, initialAccessToken },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
    },
    responseTypes: ['code', 'id_token', 'code id_token', 'none'],
  });
  handle = provider.callback();
  console.log(url);
});
