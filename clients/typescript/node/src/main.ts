// Creates a client type, lists all client types, and prints the errors of an invalid one.
//
// PORTAL_TARGET is the host and port of the portal (default localhost:50051), PORTAL_KEY an API key.

import { randomUUID } from "node:crypto";

import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { BadRequestSchema } from "oauth-portal-api/google/rpc/error_details";
import {
  ClientTypeService,
  GrantType,
  OktaAppType,
  ResponseType,
  TokenEndpointAuthMethod,
} from "oauth-portal-api/portal/oauth/v1/client_type";

const PROVIDER = 1;
const DEADLINE_MS = 5000;

const target = process.env.PORTAL_TARGET ?? "localhost:50051";
const key = process.env.PORTAL_KEY ?? "";

/** Sends the API key with each call. */
const authorize: Interceptor = (next) => (request) => {
  request.header.set("authorization", key);
  return next(request);
};

type Portal = Client<typeof ClientTypeService>;

async function create(portal: Portal): Promise<void> {
  const created = await portal.createClientType({
    providerId: PROVIDER,
    // The server does not repeat a request with the same id.
    requestId: randomUUID(),
    clientType: {
      name: "Server-side application",
      description:
        "Use this client configuration to create server-side applications that don't act" +
        " on behalf of end-users",
      responseTypes: [ResponseType.CODE, ResponseType.TOKEN],
      grantTypes: [GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN, GrantType.PASSWORD],
      tokenEndpointAuthMethod: TokenEndpointAuthMethod.CLIENT_SECRET_BASIC,
      oktaAppType: OktaAppType.WEB,
    },
  });
  console.log(`created ${created.id} ${created.name}`);
}

async function list(portal: Portal): Promise<void> {
  let pageToken = "";
  do {
    const page = await portal.listClientTypes({ providerId: PROVIDER, pageSize: 2, pageToken });
    for (const clientType of page.clientTypes) {
      console.log(`listed ${clientType.id} ${clientType.name}`);
    }
    pageToken = page.nextPageToken;
  } while (pageToken);
}

async function createInvalid(portal: Portal): Promise<void> {
  try {
    await portal.createClientType({
      providerId: PROVIDER,
      requestId: randomUUID(),
      clientType: {},
    });
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== Code.InvalidArgument) throw error;
    console.log("rejected INVALID_ARGUMENT");
    for (const { fieldViolations } of error.findDetails(BadRequestSchema)) {
      for (const { field, description } of fieldViolations) {
        console.log(`  ${field}: ${description}`);
      }
    }
    return;
  }
  throw new Error("a client type without a name was accepted");
}

const portal = createClient(
  ClientTypeService,
  createGrpcTransport({
    baseUrl: `http://${target}`,
    interceptors: [authorize],
    defaultTimeoutMs: DEADLINE_MS,
  }),
);
try {
  await create(portal);
  await list(portal);
  await createInvalid(portal);
} catch (error) {
  console.error(String(ConnectError.from(error).message).replaceAll("\n", " "));
  process.exitCode = 1;
}
