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
      // Access tokens in JWT (RFC 9068) for a request with a `resource` (RFC 8707).
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, audience) => ({
          scope: '',
          audience,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    extraTokenClaims: () => ({ roles: ['portal-editors'] }),
    clients: [
      {
        client_id: 'pipeline',
        client_secret: 'pipeline-secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    responseTypes: ['code', 'id_token', 'code id_token', 'none'],
  });
  handle = provider.callback();
  console.log(url);
});
