// What is wrong with how a page is laid out in this window, as sentences.
() => {
  const width = document.documentElement.clientWidth
  const found = []
  const named = (element) => {
    const text = (element.getAttribute("aria-label") ?? element.innerText ?? "").trim().slice(0, 40)
    return `<${element.tagName.toLowerCase()} class="${element.getAttribute("class") ?? ""}"> ${JSON.stringify(text)}`
  }
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
  const scrolls = (element) => {
    for (let box = element.parentElement; box; box = box.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(box).overflowX) && box !== document.body) return true
    }
    return false
  }

  if (document.documentElement.scrollWidth > width) {
    found.push(`the page is ${document.documentElement.scrollWidth} pixels wide, the window ${width}`)
  }
  for (const element of document.querySelectorAll("body *")) {
    if (!isShown(element) || element.closest(".visually-hidden, .skip, svg, .u-wrap")) continue
    const box = element.getBoundingClientRect()
    if ((box.right > width + 1 || box.left < -1) && !scrolls(element)) {
      found.push(`outside of the window, from ${box.left} to ${box.right}: ${named(element)}`)
    }
    // What is in a field scrolls with the caret.
    if (element.matches("input, select, textarea")) continue
    const { overflowX, overflowY } = getComputedStyle(element)
    const hides = (overflow) => overflow === "hidden" || overflow === "clip"
    if (hides(overflowX) && element.scrollWidth > element.clientWidth + 1) found.push(`cut off at its side: ${named(element)}`)
    if (hides(overflowY) && element.scrollHeight > element.clientHeight + 1) found.push(`cut off below: ${named(element)}`)
  }
  for (const element of document.querySelectorAll("a[href], button, input, select, textarea, summary")) {
    if (!isShown(element) || element.closest(".visually-hidden, .skip") || element.matches(".visually-hidden")) continue
    element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" })
    // A link that is broken over two lines has a middle that is not its own.
    const box = element.getClientRects()[0]
    const hit = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2)
    if (!hit || !(element.contains(hit) || hit.contains(element))) {
      found.push(`cannot be reached, ${hit ? named(hit) : "nothing"} is in front: ${named(element)}`)
    } else if (hit !== element && hit.contains(element) && !element.closest("label")) {
      found.push(`cannot be reached, ${named(hit)} is what is hit: ${named(element)}`)
    }
  }
  window.scrollTo(0, 0)
  return found
}
