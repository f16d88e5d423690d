// Segment's own library for Node: each of its calls, batched and sent as it likes to.
import { Analytics } from "@segment/analytics-node";

const [host, writeKey] = process.argv.slice(2);
const analytics = new Analytics({ host, writeKey, maxEventsInBatch: 4 });
const timestamp = new Date();
analytics.on("error", (error) => {
  console.error(error);
  process.exitCode = 1;
});
analytics.identify({ userId: "ann", anonymousId: "visitor-1", traits: { country: "DE" }, timestamp });
analytics.track({ userId: "ann", event: "purchase", properties: { amount: 19.99 }, timestamp });
analytics.track({ anonymousId: "visitor-2", event: "Add To Cart", properties: { sku: "k" }, timestamp });
analytics.page({ userId: "ann", name: "Pricing", properties: { path: "/pricing" }, timestamp });
analytics.screen({ userId: "ann", name: "Home", timestamp });
analytics.group({ userId: "ann", groupId: "acme", traits: { plan: "pro" }, timestamp });
analytics.alias({ userId: "ann", previousId: "visitor-2", timestamp });
await analytics.closeAndFlush({ timeout: 20_000 });
