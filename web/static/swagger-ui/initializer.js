// Kept out of index.html so that a policy of script-src 'self' lets it run.
// The document's address is relative, so that the page works behind any base path.
window.ui = SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null, // the badge would send the document to an outside host
  tryItOutEnabled: true,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});
