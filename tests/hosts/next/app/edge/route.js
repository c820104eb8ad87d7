import { decide } from "../../gate.js";

export const runtime = "edge";

export async function GET() {
  return Response.json(await decide());
}
