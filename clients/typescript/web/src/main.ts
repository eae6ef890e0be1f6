// A page that creates and lists client types, with gRPC-Web through Envoy.

import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { BadRequestSchema } from "oauth-portal-api/google/rpc/error_details";
import { ClientTypeService, GrantType, ResponseType } from "oauth-portal-api/portal/oauth/v1/client_type";

const PROVIDER = 1;

const form = document.querySelector("form")!;
const problem = document.querySelector("[role=alert]")!;
const rows = document.querySelector<HTMLTableSectionElement>("tbody")!;

function connect(portal: string, key: string) {
  const withKey: Interceptor = (next) => (request) => {
    request.header.set("authorization", key);
    return next(request);
  };
  return createClient(
    ClientTypeService,
    createGrpcWebTransport({ baseUrl: portal, interceptors: [withKey], defaultTimeoutMs: 5000 }),
  );
}

type Client = ReturnType<typeof connect>;

async function create(client: Client, name: string) {
  await client.createClientType({
    providerId: PROVIDER,
    clientType: {
      name,
      responseTypes: [ResponseType.CODE],
      grantTypes: [GrantType.PKCE, GrantType.REFRESH_TOKEN],
    },
    requestId: newRequestId(), // the server does not repeat a request with the same id
  });
}

async function list(client: Client) {
  rows.replaceChildren();
  let pageToken = "";
  do {
    const page = await client.listClientTypes({ providerId: PROVIDER, pageToken });
    for (const { id, name } of page.clientTypes) {
      const row = rows.insertRow();
      row.insertCell().textContent = String(id);
      row.insertCell().textContent = name;
    }
    pageToken = page.nextPageToken;
  } while (pageToken);
}

// crypto.randomUUID() exists only on pages of https and localhost.
function newRequestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The status, and a line for each invalid field or else the message.
function explain(error: unknown): string {
  const failure = ConnectError.from(error);
  const violations = failure
    .findDetails(BadRequestSchema)
    .flatMap((details) => details.fieldViolations)
    .map(({ field, description }) => `${field}: ${description}`);
  return [Code[failure.code], ...(violations.length ? violations : [failure.rawMessage])].join("\n");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.textContent = "";
  const data = new FormData(form);
  const client = connect(String(data.get("portal")), String(data.get("key")));
  try {
    if ((event.submitter as HTMLButtonElement).name === "create") {
      await create(client, String(data.get("name")));
    }
    await list(client);
  } catch (error) {
    problem.textContent = explain(error);
  }
});
