import { decide } from "../../gate.js";

export const dynamic = "force-dynamic";

export async function GET() {
  return Response.json(await decide());
}
