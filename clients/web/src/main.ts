// A page that creates client types and lists them, by gRPC-Web through Envoy.

import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { BadRequestSchema } from "./gen/google/rpc/error_details_pb";
import { ClientTypeService, GrantType, ResponseType } from "./gen/portal/oauth/v1/client_type_pb";

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
    requestId: newRequestId(), // so that sending it again does no harm
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

// crypto.randomUUID() is for pages by https and of localhost only.
function newRequestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What is wrong, a line for each field if it is about fields.
function explain(error: unknown): string {
  const refusal = ConnectError.from(error);
  const violations = refusal
    .findDetails(BadRequestSchema)
    .flatMap((details) => details.fieldViolations)
    .map(({ field, description }) => `${field}: ${description}`);
  return [Code[refusal.code], ...(violations.length ? violations : [refusal.rawMessage])].join("\n");
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
