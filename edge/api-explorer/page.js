"use strict";

// The colors of the system, also when they change.
const dark = matchMedia("(prefers-color-scheme: dark)");
const setColors = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", setColors);
setColors();

let language = 0;

/** The samples of an operation, with a tab for each language. */
function Samples({ system, path, method }) {
  const h = system.React.createElement;
  const [shown, show] = system.React.useState(language);
  const samples = system.specSelectors.specJson().getIn(["paths", path, method, "x-codeSamples"]);
  if (!samples) {
    return null;
  }
  const select = (at) => {
    language = at;
    show(at);
  };
  const tabs = samples.toArray().map((sample, at) =>
    h("button", { key: at, type: "button", "aria-pressed": at === shown, onClick: () => select(at) },
      sample.get("label")));
  const source = samples.getIn([shown, "source"]).replaceAll("http://localhost:3001", location.origin);
  return h("div", { className: "samples" },
    h("div", { className: "samples-tabs" }, h("h4", null, "Samples"), ...tabs),
    h("pre", { tabIndex: 0 }, source));
}

const plugin = () => ({
  wrapComponents: {
    // The API key is not shown, neither here nor in the command after a request.
    Input: (Original, system) => (props) => system.React.createElement(Original,
      props.id === "api_key_value" ? { ...props, type: "password", autoComplete: "off" } : props),
    curl: (Original, system) => ({ request, ...props }) => system.React.createElement(Original, {
      ...props,
      request: request.hasIn(["headers", "Authorization"])
        ? request.setIn(["headers", "Authorization"], "API-KEY") : request,
    }),
    responses: (Original, system) => (props) => system.React.createElement(system.React.Fragment, null,
      system.React.createElement(Samples, { system, path: props.path, method: props.method }),
      system.React.createElement(Original, props)),
  },
});

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  plugins: [plugin],
  // Nothing is sent to a validator on another host.
  validatorUrl: null,
});
