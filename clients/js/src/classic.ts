/** For a script tag: the class is the global `Sockudo`, and carries what the module exports beside it. */
import { Sockudo, SockudoError } from "./index.js"

export default Object.assign(Sockudo, { Sockudo, Pusher: Sockudo, SockudoError, default: Sockudo })
