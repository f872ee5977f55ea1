// What Go's compiler leaves in tables: inlined calls, objects on the stack, wrappers of deferred calls, generic code.
// The second version has the lines marked 2 and not those that end in the mark 1.
package main

type shape interface {
	area() int
	name() string
}
type square struct {
	side  int
	label string
}
type oblong struct {
	wide, high int
	under      *square
}

func twice(n int) int   { return n + n }
func between(n int) int { return twice(n) + 1 }
//2 func halved(n int) int  { return n >> 1 }
//2 func beside(n int) int  { return halved(between(n)) + twice(n) }
func clamp(n int) int {
	if n < 0 {
		return between(-n)
	}
	return twice(n) - 1 //1
	//2 if n > 99 {
	//2 	return beside(n)
	//2 }
	//2 return halved(n) + between(n)
}

func (s square) area() int    { return clamp(s.side) * s.side }
func (s square) name() string { return s.label }
func (o oblong) area() int    { return between(o.wide)*o.high + clamp(o.high) }
//2 func (o *oblong) turn()       { o.wide, o.high = o.high, beside(o.wide) }
func (o oblong) name() string {
	if o.under != nil {
		return o.under.name()
	}
	return "oblong"
}

//go:noinline
func fill(s *square, n int) {
	s.side = clamp(n)
	if n > 3 {
		s.label = "large"
	}
	//2 if n > 7 {
	//2 	s.label = "huge"
	//2 }
}

//go:noinline
func pair(n int) int {
	var a, b square
	fill(&a, n)
	fill(&b, between(n))
	o := oblong{a.side, b.side, &b}
	//2 o.turn()
	return o.area() + len(o.name())
}

//go:noinline
func largest[T int | uint8 | string](items []T) (best T) {
	for _, item := range items {
		if item > best {
			best = item
		}
	}
	return best
}

//go:noinline
func note(n int, text string) { println(text, clamp(n)) }

//go:noinline
func tell(n int) (out string) {
	defer note(n, "told")
	defer func() {
		if recover() != nil {
			out = "nothing"
		}
	}()
	switch n {
	case 0:
		return "none"
	case 1:
		return "one"
	//2 case 2, 3:
	//2 	return "few"
	case 4:
		panic("four")
	}
	//2 go note(beside(n), "aside")
	return "many"
}

//go:noinline
func total(shapes []shape) (sum int) {
	add := func(n int) { sum += between(n) }
	for _, s := range shapes {
		add(s.area())
		//2 add(beside(len(s.name())))
	}
	return sum
}

func main() {
	for i := range 9 {
		println(tell(i), pair(i), total([]shape{square{i, "square"}, oblong{i, 3, nil}}))
	}
	println(largest([]int{3, 4}), largest([]string{"a", "b"}))
	//2 println(largest([]uint8{7}))
}
