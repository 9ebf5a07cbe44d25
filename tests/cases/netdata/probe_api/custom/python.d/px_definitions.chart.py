# probe: `order` and `definitions` of odd shapes
from bases.FrameworkServices.SimpleService import SimpleService


class Service(SimpleService):
    O = [None, 't', 'u', 'f', 'x.c', 'line']

    def __init__(self, configuration=None, name=None):
        SimpleService.__init__(self, configuration=configuration, name=name)
        self.n = 0
        getattr(self, 'm_' + self.configuration['m'])()

    def check(self):
        return True

    def get_data(self):
        self.n += 1
        given = getattr(self, 'g_' + self.configuration['m'], lambda n: None)(self.n)
        return {'v': self.n, 'w': 2, 'x': 3, 1: 4, 'a b': 5, '': 6} if given is None else given

    def T(self, what, call):
        """Calls what may raise; the case compares what is printed, not what is raised."""
        try:
            return call()
        except Exception as error:
            return type(error)

    def D(self,order,defs): self.order,self.definitions=order,defs
    def m_none(self): pass
    def m_ordernone(self): self.D(None,{'c':{'options':self.O,'lines':[['v']]}})
    def m_defnone(self): self.D(['c'],None)
    def m_tuporder(self): self.D(('c',),{'c':{'options':self.O,'lines':[['v']]}})
    def m_gen(self): self.D((x for x in ['c']),{'c':{'options':self.O,'lines':[['v']]}})
    def m_dictorder(self): self.D({'c':1},{'c':{'options':self.O,'lines':[['v']]}})
    def m_strorder(self): self.D('c',{'c':{'options':self.O,'lines':[['v']]}})
    def m_linesdict(self): self.D(['c','d'],{'c':{'options':self.O,'lines':{'v':1}},'d':{'options':self.O,'lines':[['v']]}})
    def m_linestup(self): self.D(['c','d'],{'c':{'options':self.O,'lines':(['v'],['w'])},'d':{'options':self.O,'lines':[('v',),['w']]}})
    def m_mul(self): self.D(['c'],{'c':{'options':self.O,'lines':[['v',None,'absolute','8',8.0],['w','W','INCREMENTAL',-1,-8],['x','','incremental',True,False],[1,1,None,10**20,0],['a b',['q'],'percentage-of-absolute-row',None,None,'hidden','more']]}})
    def m_hid(self): self.D(['c','d','e','g'],{'c':{'options':self.O+['hidden'],'lines':[['v',None,None,None,None,True],['w',None,None,1,1,'HIDDEN'],['x',None,'absolute',1,1,'hidden obsolete'],[1,None,'absolute',1,1,0]]},'d':{'options':self.O+['obsolete'],'lines':[['v']]},'e':{'options':self.O+['hidden','more'],'lines':[['v']]},'g':{'options':self.O+[True],'lines':[['v']]}})
    def m_opts(self): self.D(list('abcdefgh'),{'a':{'options':['n m','t','u','f','x','line'],'lines':[['v']]},'b':{'options':[1,2,3,4,5,6],'lines':[['v']]},'c':{'options':['','','','','',''],'lines':[['v']]},'d':{'options':[None,'t\nn','u','f','x','LINE'],'lines':[['v']]},'e':{'options':[None,'t','u','f','x',' area'],'lines':[['v']]},'f':{'options':[],'lines':[['v']]},'g':{'options':[[],{},(),0,False,'stacked'],'lines':[['v']]},'h':{'options':['x.y','t',b'u','f','x','area'],'lines':[['v']]}})
    def m_orderdup(self): self.D(['c','c'],{'c':{'options':self.O,'lines':[['v']]}})
    def m_big(self): self.D(['c'],{'c':{'options':self.O,'lines':[['d%d'%i] for i in range(300)]}})
    def g_big(self,n): return {'d%d'%i:i for i in range(300)}
    def m_share(self):
        l=[['v']]; self.D(['c','d'],{'c':{'options':self.O,'lines':l},'d':{'options':self.O,'lines':l}})
