import { decide } from "../gate.js";

export const dynamic = "force-dynamic";

export default async function Page() {
  return <pre>{JSON.stringify(await decide())}</pre>;
}
