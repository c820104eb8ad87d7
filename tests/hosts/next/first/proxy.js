import { NextResponse } from "next/server";
import { decide } from "./gate.js";

export async function proxy() {
  const response = NextResponse.next();
  response.headers.set("x-gate", JSON.stringify(await decide()));
  return response;
}

export const config = { matcher: ["/node"] };
