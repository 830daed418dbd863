package brand

// Products are the things that are drawn, by the word that a caption uses.
var Products = []string{"mug", "bottle", "bag", "lamp", "chair", "shoe", "umbrella", "shirt"}

// drawings draws each product in colour c into the frame's unit square.
var drawings = map[string]func(p *canvas, c rgb){
	"mug": drawMug, "bottle": drawBottle, "bag": drawBag, "lamp": drawLamp,
	"chair": drawChair, "shoe": drawShoe, "umbrella": drawUmbrella, "shirt": drawShirt,
}

var (
	wood  = hex(0x9c6b3f)
	metal = hex(0x5d6168)
	ivory = hex(0xf4efe4)
)

func drawMug(p *canvas, c rgb) {
	handle := new(path).ellipse(0.74, 0.55, 0.21, 0.22).ellipse(0.74, 0.55, -0.115, 0.125)
	p.fill(handle, slope(c.light(-0.12), 0.6, 0.3, 1, 0.8), 1)
	body := new(path).begin(0.1, 0.24).line(0.74, 0.24).line(0.71, 0.86).
		curve(0.69, 0.97, 0.15, 0.97, 0.13, 0.86)
	p.fill(body, round(c, 0.1, 0.74), 1)
	p.fill(new(path).ellipse(0.42, 0.24, 0.32, 0.085), flat(c.light(0.3)), 1)
	p.fill(new(path).ellipse(0.42, 0.25, 0.265, 0.058), flat(c.light(-0.72)), 1)
	p.fill(new(path).box(0.2, 0.38, 0.255, 0.8, 0.027), flat(rgb{1, 1, 1}), 0.55)
}

func drawBottle(p *canvas, c rgb) {
	body := new(path).begin(0.41, 0.16).line(0.59, 0.16).line(0.59, 0.3).
		curve(0.6, 0.4, 0.75, 0.4, 0.75, 0.52).line(0.75, 0.94).
		curve(0.75, 1, 0.72, 1, 0.68, 1).line(0.32, 1).curve(0.28, 1, 0.25, 1, 0.25, 0.94).
		line(0.25, 0.52).curve(0.25, 0.4, 0.4, 0.4, 0.41, 0.3)
	p.fill(body, round(c, 0.25, 0.75), 1)
	p.fill(new(path).box(0.385, 0.02, 0.615, 0.17, 0.03), round(c.light(-0.45), 0.385, 0.615), 1)
	p.fill(new(path).box(0.25, 0.6, 0.75, 0.84, 0), round(ivory, 0.25, 0.75), 1)
	p.fill(new(path).box(0.38, 0.68, 0.62, 0.75, 0), flat(c.light(-0.15)), 1)
	p.fill(new(path).box(0.32, 0.47, 0.365, 0.58, 0.02), flat(rgb{1, 1, 1}), 0.6)
}

func drawBag(p *canvas, c rgb) {
	handle := new(path).ellipse(0.5, 0.34, 0.21, 0.31).ellipse(0.5, 0.34, -0.145, 0.245)
	p.fill(handle, flat(c.light(-0.5)), 1)
	body := new(path).begin(0.17, 0.34).line(0.83, 0.34).line(0.93, 0.93).
		curve(0.94, 0.98, 0.92, 1, 0.88, 1).line(0.12, 1).curve(0.08, 1, 0.06, 0.98, 0.07, 0.93)
	p.fill(body, slope(c, 0.07, 0.34, 0.93, 1), 1)
	p.fill(new(path).begin(0.17, 0.34).line(0.83, 0.34).line(0.85, 0.46).line(0.15, 0.46),
		slope(c.light(-0.28), 0.07, 0.3, 0.93, 0.7), 1)
	p.fill(new(path).box(0.425, 0.4, 0.575, 0.57, 0.04), flat(hex(0xe9c46a)), 1)
	p.fill(new(path).box(0.17, 0.55, 0.22, 0.88, 0.02), flat(rgb{1, 1, 1}), 0.3)
}

func drawLamp(p *canvas, c rgb) {
	p.fill(new(path).box(0.465, 0.45, 0.535, 0.92, 0), round(metal, 0.465, 0.535), 1)
	p.fill(new(path).begin(0.28, 1).curve(0.28, 0.88, 0.72, 0.88, 0.72, 1), round(c.light(-0.2), 0.28, 0.72), 1)
	p.fill(new(path).ellipse(0.5, 0.52, 0.3, 0.1), flat(hex(0xffe9a8)), 1)
	shade := new(path).begin(0.34, 0.04).line(0.66, 0.04).line(0.92, 0.5).
		curve(0.92, 0.58, 0.08, 0.58, 0.08, 0.5)
	p.fill(shade, round(c, 0.08, 0.92), 1)
	p.fill(new(path).begin(0.395, 0.1).line(0.45, 0.1).line(0.345, 0.47).line(0.25, 0.47),
		flat(rgb{1, 1, 1}), 0.4)
}

func drawChair(p *canvas, c rgb) {
	leg := func(x0, x1, y float64) {
		p.fill(new(path).begin(x0, 0.6).line(x0+0.075, 0.6).line(x1+0.065, y).line(x1, y),
			slope(wood, 0.1, 0.6, 0.9, 1.1), 1)
	}
	leg(0.24, 0.22, 0.9)
	leg(0.7, 0.74, 0.9)
	p.fill(new(path).box(0.2, 0.02, 0.8, 0.56, 0.09), slope(c.light(-0.1), 0.2, 0, 0.8, 0.7), 1)
	p.fill(new(path).box(0.29, 0.1, 0.71, 0.44, 0.05), slope(c.light(0.2), 0.2, 0, 0.8, 0.6), 1)
	leg(0.13, 0.08, 1)
	leg(0.8, 0.86, 1)
	seat := new(path).begin(0.2, 0.52).line(0.8, 0.52).line(0.92, 0.66).line(0.92, 0.73).line(0.08, 0.73).line(0.08, 0.66)
	p.fill(seat, flat(c.light(-0.42)), 1)
	p.fill(new(path).begin(0.2, 0.52).line(0.8, 0.52).line(0.92, 0.66).line(0.08, 0.66),
		slope(c.light(0.08), 0.08, 0.5, 0.92, 0.8), 1)
}

func drawShoe(p *canvas, c rgb) {
	sole := new(path).box(0, 0.8, 1, 0.92, 0.05)
	upper := new(path).begin(0.03, 0.82).line(0.03, 0.36).curve(0.08, 0.3, 0.3, 0.29, 0.35, 0.35).
		curve(0.42, 0.46, 0.52, 0.55, 0.66, 0.58).curve(0.88, 0.61, 0.98, 0.66, 0.98, 0.82)
	p.fill(upper, slope(c, 0.03, 0.25, 1.1, 0.95), 1)
	p.fill(new(path).begin(0.03, 0.36).curve(0.08, 0.3, 0.3, 0.29, 0.35, 0.35).
		curve(0.28, 0.41, 0.1, 0.42, 0.03, 0.36), flat(c.light(-0.65)), 1)
	p.fill(new(path).begin(0.03, 0.62).line(0.2, 0.58).line(0.24, 0.82).line(0.03, 0.82), flat(c.light(-0.3)), 1)
	p.fill(new(path).begin(0.8, 0.62).curve(0.94, 0.66, 0.98, 0.7, 0.98, 0.82).line(0.76, 0.82).
		curve(0.74, 0.74, 0.76, 0.66, 0.8, 0.62), flat(c.light(-0.3)), 1)
	for i := range 3 {
		x, y := 0.36+0.1*float64(i), 0.46+0.06*float64(i)
		p.fill(new(path).begin(x, y).line(x+0.05, y-0.02).line(x-0.04, y+0.19).line(x-0.09, y+0.18), flat(ivory), 1)
	}
	p.fill(sole, flat(ivory.light(-0.06)), 1)
}

func drawUmbrella(p *canvas, c rgb) {
	p.fill(new(path).box(0.475, 0.4, 0.525, 0.92, 0), flat(wood), 1)
	hook := new(path).begin(0.475, 0.86).curve(0.475, 1.04, 0.73, 1.04, 0.73, 0.86).line(0.675, 0.86).
		curve(0.675, 0.96, 0.525, 0.96, 0.525, 0.86)
	p.fill(hook, flat(wood.light(-0.2)), 1)
	p.fill(new(path).box(0.48, 0, 0.52, 0.12, 0.02), flat(wood), 1)
	canopy := func(x0, x1 float64) *path {
		return new(path).begin(0.5, 0.07).curve(lerp(0.5, x0, 0.55), 0.07, x0, 0.25, x0, 0.54).
			curve(lerp(x0, x1, 0.25), 0.46, lerp(x0, x1, 0.75), 0.46, x1, 0.54).
			curve(x1, 0.25, lerp(0.5, x1, 0.55), 0.07, 0.5, 0.07)
	}
	p.fill(canopy(0, 0.25), flat(c.light(0.05)), 1)
	p.fill(canopy(0.25, 0.5), flat(c.light(0.32)), 1)
	p.fill(canopy(0.5, 0.75), flat(c.light(-0.1)), 1)
	p.fill(canopy(0.75, 1), flat(c.light(-0.42)), 1)
}

func drawShirt(p *canvas, c rgb) {
	sleeve := func(x0, x1, x2, x3 float64, t float64) {
		p.fill(new(path).begin(x0, 0.1).line(x1, 0.36).line(x2, 0.48).line(x3, 0.3), flat(c.light(t)), 1)
	}
	sleeve(0.27, 0, 0.13, 0.3, 0.12)
	sleeve(0.73, 1, 0.87, 0.7, -0.45)
	body := new(path).begin(0.25, 0.1).line(0.38, 0.06).curve(0.42, 0.2, 0.58, 0.2, 0.62, 0.06).line(0.75, 0.1).
		line(0.76, 0.97).curve(0.6, 1, 0.4, 1, 0.24, 0.97)
	p.fill(body, round(c, 0.22, 0.78), 1)
	collar := new(path).begin(0.35, 0.065).line(0.39, 0.055).curve(0.43, 0.17, 0.57, 0.17, 0.61, 0.055).line(0.65, 0.065).
		curve(0.6, 0.25, 0.4, 0.25, 0.35, 0.065)
	p.fill(collar, flat(c.light(-0.5)), 1)
	p.fill(new(path).box(0.55, 0.34, 0.67, 0.47, 0.02), flat(c.light(-0.5)), 1)
}
