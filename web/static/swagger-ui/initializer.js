// Kept out of index.html so that a policy of script-src 'self' lets it run.

// Swagger UI fills a form's fields that have no default with made-up values ("string", 0) and sends
// them; and what is left blank it sends as an empty text, unless a box is unchecked. Here such fields
// begin blank (it asks for a single field's value with `false` as the type), and the boxes unchecked.
function blankWithoutDefault() {
  return {
    wrapComponents: {
      ParameterIncludeEmpty: (Original, system) => (props) =>
        system.React.createElement(Original, {
          ...props,
          isIncludedOptions: { ...props.isIncludedOptions, defaultValue: false },
        }),
    },
    afterLoad() {
      const sample = this.fn.getSampleSchema;
      this.fn.getSampleSchema = (schema, contentType, ...rest) => {
        const plain = schema && schema.toJS ? schema.toJS() : schema;
        if (contentType === false && plain && plain.default === undefined && !plain.examples) {
          if (![].concat(plain.type).includes("array")) return "";
          return plain.items && plain.items.format === "binary" ? [""] : []; // one file to choose
        }
        return sample(schema, contentType, ...rest);
      };
    },
  };
}

// The document's address is relative to this file's, so that the page works behind any base path,
// and with and without a last slash.
window.ui = SwaggerUIBundle({
  url: new URL("../openapi.json", document.currentScript.src).href,
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  plugins: [blankWithoutDefault],
  layout: "BaseLayout",
  validatorUrl: null, // the badge would send the document to an outside host
  tryItOutEnabled: true,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});
